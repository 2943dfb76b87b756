"""The stages of the experiment: one small command each, in the order of dvc.yaml."""

import errno
import io
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.files import DISK_FULL
from pipeline.common.parent_process import end_with_parent, is_orphan_of_dvc
from pipeline.common.unchanged import Unchanged
from pipeline.config.load import Settings, read_settings

_PARENT = os.getppid()
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


_SHOWN_IN_REPORT = ("prepare", "pretrained", "train", "evaluate")


def settings() -> Settings:
    """The settings of params.yaml, checked as a whole: no stage works for long where a later one refuses a setting."""
    from pipeline.methods import METHODS  # here: it takes seconds, and `sources` runs every time

    return read_settings(methods=METHODS)


def remove_old_report() -> None:
    """Removes the page of an earlier run before DVC runs a stage whose results it shows, lest it look like this run's.

    Should the stages come to the same results, DVC restores the page.
    """
    if os.environ.get("DVC_STAGE") in _SHOWN_IN_REPORT:
        (paths.REPORTS / "report.html").unlink(missing_ok=True)
        shutil.rmtree(paths.REPORTS / "figures", ignore_errors=True)


def run(command: Callable[..., None], *, watched: Sequence[str] | None = None) -> None:
    """Runs a stage as a command line; a user's mistake ends in one line and exit code 1.

    Args:
        command: the stage.
        watched: sections of the settings that decide its results: it fails at its end where one of them, or the code,
            was changed meanwhile, before DVC records the wrong pair. None for a command that DVC does not run.
    """
    if "DVC_ROOT" in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:
        if is_orphan_of_dvc():
            _stop("`dvc` was ended")
        end_with_parent(_PARENT)  # a killed `dvc repro` must not leave a stage behind that nobody knows of
    _write_any_name()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command if watched is None else _guarded(command, watched))
    try:
        remove_old_report()
        app()
    except UserError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            raise
        _stop(f"{error.filename or 'a file'}: {error.strerror}")


def _guarded(command: Callable[..., None], watched: Sequence[str]) -> Callable[..., None]:
    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> None:
        if "TORCHELASTIC_RUN_ID" in os.environ:  # one process of several: the one that started them all looks
            command(*arguments, **options)
            return
        unchanged = Unchanged(lambda: settings().as_dict(watched), root=Path(__file__).parents[1])
        try:
            command(*arguments, **options)
        except typer.Exit as done:
            if done.exit_code:
                raise
        unchanged.require()

    return guarded


def _write_any_name() -> None:
    """Lets a terminal in ASCII or Latin-1 show what it has no character for as an escape, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _stop(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)
