"""Signals that wait: a library that is interrupted while it is imported, or makes its tables, stays half there."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def kept_signals() -> Iterator[None]:
    """Keeps SIGINT and SIGTERM until the block has ended, and raises them then, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept: list[int] = []
    before = {number: signal.signal(number, lambda number, _: kept.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for asked in dict.fromkeys(kept):
            signal.raise_signal(asked)
