"""The stages of the experiment: one small command each, which imports what it works with when it starts to work."""

import os

# OpenMP's threads wait for work by spinning; beside other busy programs they would spin in those threads' way that have
# work. Read when PyTorch is loaded, and inherited by the processes of a training; no result depends on it.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from pipeline.common import ending, paths
from pipeline.common.parent_process import end_with_parent, is_orphan_of_dvc
from pipeline.common.unchanged import Unchanged
from pipeline.config.load import Settings, read_settings

_PARENT = os.getppid()
# Stage -> the first of those whose results DVC leaves there while it runs, though they are of an earlier run.
_STALE = {"prepare": "evaluate", "pretrained": "evaluate", "train": "evaluate", "evaluate": "report"}

ending.end_quietly_by_ctrl_c()


def settings() -> Settings:
    """The settings of params.yaml, checked as a whole: no stage works for long where a later one refuses a setting."""
    from pipeline.methods import METHODS  # here: it takes seconds, and `sources` runs every time

    return read_settings(methods=METHODS)


def discard_stale_results() -> None:
    """Removes scores and page of an earlier run before DVC runs a stage that they depend on, lest they look like new.

    Should the stages come to the same results, DVC restores them.
    """
    if (first := _STALE.get(os.environ.get("DVC_STAGE", ""))) is not None:
        paths.discard_results(first)


def run(command: Callable[..., None], *, watched: Sequence[str] | None = None) -> None:
    """Runs a stage as a command line; a user's mistake ends in one line and exit code 1, Ctrl-C in exit code 130.

    Args:
        command: the stage.
        watched: sections of the settings that decide its results: it fails at its end where one of them, or the code,
            was changed meanwhile, before DVC records the wrong pair. None for a command that DVC does not run.
    """
    ending.print_any_character()
    if "DVC_ROOT" in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:
        if is_orphan_of_dvc():
            ending.stop("`dvc` was ended")
        discard_stale_results()
        end_with_parent(_PARENT)  # a killed `dvc repro` must not leave a stage behind that nobody knows of
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(ending.interruptible(command if watched is None else _guarded(command, watched)))
    with ending.one_line_errors():
        app()


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
