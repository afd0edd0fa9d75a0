"""One thread a test process, since several run beside each other, and threads that do not spin; before torch is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pushforward  # noqa: F401
