"""Room on the disk: checked before the work, and one line where it runs out."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.files import DISK_FULL


def require_room(folder: Path, needed: int, what: str) -> None:
    """Makes `folder`, and checks that `needed` bytes are free there.

    Raises:
        UserError: names `what` needs them, such as "the packed images".
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder} has {free / 1e9:.1f} GB free, {what} need {needed / 1e9:.1f} GB")


@contextmanager
def told_if_full(folder: Path, what: str) -> Iterator[None]:
    """Turns the error of a full disk into a UserError: what is free at first may be taken by another program."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise UserError(f"{folder}: the disk is full, {what} do not fit ({error.strerror})") from error


def is_full(error: OSError) -> bool:
    """Whether the disk, or what the user may use of it, is full."""
    return error.errno in DISK_FULL
