"""A training from its first epoch, or from where it was interrupted, to its last."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from pipeline.training.trainer import EpochResult, Trainer

CHECKPOINT = "checkpoint.pt"

Row = dict[str, float]


def train_to_end(
    trainer: Trainer,
    *,
    folder: Path,
    eval_step: int,
    score: Callable[[], Mapping[str, float]],
    record: Callable[[Row], None],
    tell: Callable[[str], None],
) -> list[Row]:
    """Trains, looks at the networks every `eval_step` epochs and after the last, and keeps a checkpoint an epoch.

    Args:
        trainer: at its first epoch; goes on from the checkpoint if there is one.
        folder: of the checkpoint; removed by the caller once the results are safe (`forget`).
        eval_step: epochs.
        score: called in every process; what it returns in the first is added to the row of the epoch.
        record: called in the first process with the row of every new epoch.
        tell: called in the first process with a sentence for the person.

    Returns:
        One row an epoch: everything of `EpochResult` but the labels, and the scores of the epochs that have them.
    """
    rows: list[Row] = []
    state = load_checkpoint(folder / CHECKPOINT)
    if state is not None:
        trainer.load_state_dict(state["trainer"])
        rows = state["rows"]
        if trainer.processes.first:
            tell(f"going on after epoch {trainer.epoch} of {trainer.plan.epochs} ({folder})")
    for result in trainer.run():
        row = _row(result)
        if trainer.epoch % eval_step == 0 or trainer.epoch == trainer.plan.epochs:
            row |= score()
        rows.append(row)
        if trainer.processes.first:
            save_checkpoint(folder / CHECKPOINT, {"trainer": trainer.state_dict(), "rows": rows})
            record(row)
    return rows


def forget(folder: Path) -> None:
    """Removes the checkpoint of a training whose results are written."""
    shutil.rmtree(folder, ignore_errors=True)


def _row(result: EpochResult) -> Row:
    values: dict[str, Any] = {
        key: value
        for key, value in vars(result).items()
        if key not in ("labels", "seconds", "epoch") and value is not None
    }
    parts = {f"seconds_{part}": taken for part, taken in result.seconds.items()}
    return {"epoch": result.epoch + 1, **values, "seconds": sum(result.seconds.values()), **parts}
