"""The stages of the experiment: one small command each, in the order of dvc.yaml."""

import errno
import sys
from collections.abc import Callable

import typer

from pipeline.common.errors import UserError
from pipeline.common.files import DISK_FULL
from pipeline.config.load import Settings, read_settings

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
}


def settings() -> Settings:
    """The settings of params.yaml, checked as a whole: no stage works for long where a later one refuses a setting."""
    from pipeline.methods import METHODS  # here: it takes seconds, and `sources` runs every time

    return read_settings(methods=METHODS)


def run(command: Callable[..., None]) -> None:
    """Runs a stage as a command line; a user's mistake ends in one line and exit code 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    try:
        app()
    except UserError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            raise
        _stop(f"{error.filename or 'a file'}: {error.strerror}")


def _stop(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)
