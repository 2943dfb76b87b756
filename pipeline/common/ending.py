"""How a command ends: quietly by Ctrl-C, in one line by a user's mistake, and without a password in what it prints."""

import errno
import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn

from pipeline.common.credentials import masked
from pipeline.common.errors import UserError
from pipeline.common.files import DISK_FULL
from pipeline.common.text import printable

INTERRUPTED = 128 + signal.SIGINT
# What the user has to mend outside the program: no space, no permission, a read-only disk, a disk that is gone.
_ENVIRONMENT = {
    *DISK_FULL,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ENODEV,
    # A file where a folder should be, or the other way round, or a name that is too long.
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}


def end_quietly_by_ctrl_c() -> None:
    """Leaves out the traceback of a Ctrl-C that nobody catches, as in the imports of a stage, which take seconds."""
    sys.excepthook = _without_interruptions


def _without_interruptions(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("interrupted", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, which ends by Ctrl-C with one word and exit code 130: typer has others for it."""

    @functools.wraps(command)
    def ending(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already
            print("interrupted", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None

    return ending


def print_any_character() -> None:
    """Lets a terminal that lacks a character of a file's name print its number instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the process with one line and exit code 1 where the block raises what the user has to mend."""
    try:
        yield
    except UserError as error:
        stop(str(error))
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            raise
        stop(f"{error.filename or 'a file'}: {error.strerror}")
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which only who computes has imported
            from pipeline.common.device import out_of_memory

            stop(str(out_of_memory(error, "end what else uses the GPU, or set CUDA_VISIBLE_DEVICES= to use the CPU")))
        trace = traceback.format_exc()
        if masked(trace) == trace:
            raise
        print(masked(trace), file=sys.stderr)
        raise SystemExit(1) from None


def stop(message: str) -> NoReturn:
    """Ends the process with one line and exit code 1."""
    print(f"error: {printable(masked(message))}", file=sys.stderr)
    raise SystemExit(1)
