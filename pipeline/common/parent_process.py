"""A process that ends with the one that started it."""

import ctypes
import signal
import sys


def end_with_parent() -> None:
    """On Linux, this process gets SIGTERM when the one that started it dies, so that none is left behind."""
    if sys.platform.startswith("linux"):
        set_parent_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)
