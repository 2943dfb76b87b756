"""Locks between processes: a file that one process holds, and lets go of when it ends, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import UserError


@contextmanager
def locked(path: Path, *, taken: str | None = None, waiting: str | None = None) -> Iterator[None]:
    """Holds the lock file `path`, which stays there, for as long as the block lasts.

    Args:
        path: of the lock file; its folder is made where it is missing.
        taken: what to tell the user where another process holds it; None = wait until it is free.
        waiting: what to print before that.

    Raises:
        UserError: `taken`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if taken is not None:
                raise UserError(taken) from error
            if waiting is not None:
                print(waiting, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
