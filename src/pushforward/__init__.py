"""pushforward: GANs, VAEs, diffusion and flow matching behind one interface.

All of them map noise z to data x. Names are imported on first use, which keeps the import fast.
"""

from __future__ import annotations

from pushforward import runtime
from pushforward.registries import exports

__version__ = "0.1.0"
__getattr__ = exports(__name__, __file__)

runtime.set_thread_waiting()
