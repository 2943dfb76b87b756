"""A process that ends with the one that started it."""

import ctypes
import os
import signal
import sys
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1


def end_with_parent(parent: int | None = None) -> None:
    """On Linux, this process gets SIGTERM when the one that started it dies, at once if that has happened already.

    Args:
        parent: the process that started this one, as far as it is known from a time when it was there.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def is_orphan_of_dvc() -> bool:
    """Whether DVC started this process and had died before it could look: it was handed to the system's first one."""
    first = Path("/proc/1/cmdline")
    return "DVC_ROOT" in os.environ and os.getppid() == 1 and first.exists() and b"dvc" not in first.read_bytes()
