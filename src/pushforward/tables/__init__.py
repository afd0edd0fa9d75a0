"""Tables of mixed types.

All that is special to this kind of data, which other packages reach through `Space`.
"""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)
