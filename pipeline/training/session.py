"""A training from its first epoch, or from the step where it was interrupted, to its last."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.model.checkpoint import CheckpointWriter, load_latest
from pipeline.training.interruption import InterruptedTrainingError
from pipeline.training.results import EpochResult
from pipeline.training.trainer import Trainer

CHECKPOINT = "checkpoint.pt"

Row = dict[str, float]


def train_to_end(
    trainer: Trainer,
    *,
    folder: Path,
    eval_step: int,
    checkpoint_minutes: float,
    settings: Mapping[str, Any],
    score: Callable[[], Mapping[str, float]],
    record: Callable[[Row], None],
    say: Callable[[str], None],
    describe: Callable[[EpochResult], Row] = lambda _: {},
    tell: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """Trains, looks at the networks every `eval_step` epochs and after the last, and keeps checkpoints.

    They are written after every epoch, every `checkpoint_minutes` between two steps, and when the training is
    interrupted by a signal: copied between two steps, and written by a thread while the next ones are computed.

    Args:
        trainer: at its first epoch; goes on from the checkpoint if there is one.
        folder: of the checkpoints; removed by the caller once the results are safe (`delete_checkpoints`).
        eval_step: epochs.
        checkpoint_minutes: 0 writes one after every step.
        settings: kept in the checkpoints, so that a network can be rebuilt from one of them alone.
        score: called in every process; what it returns in the first is added to the row of the epoch.
        record: called in the first process with the row of every epoch, and again with those of earlier ones where
            the training goes on: whoever keeps them knows which it has.
        say: called in the first process with a sentence for the user.
        describe: called in every process with what an epoch did; what it returns is added to the row.
        tell: called in the first process with the row of each epoch that is trained now.

    Returns:
        One row per epoch: everything of `EpochResult` but the labels, and the scores of the epochs that have them.

    Raises:
        InterruptedTrainingError: the training was asked to stop; a checkpoint is there.
    """
    with CheckpointWriter(folder / CHECKPOINT) as checkpoints:
        session = _Session(trainer, folder / CHECKPOINT, checkpoints, settings, say)
        session.resume()
        for row in session.progress.rows:
            if trainer.processes.first:
                record(row)
        seconds = 60 * checkpoint_minutes
        for row in _train(session, eval_step=eval_step, seconds=seconds, score=score, describe=describe):
            if trainer.processes.first:
                record(row)
                tell(row)
    return list(session.progress.rows)


def _train(
    session: "_Session",
    *,
    eval_step: int,
    seconds: float,
    score: Callable[[], Mapping[str, float]],
    describe: Callable[[EpochResult], Row],
) -> Iterator[Row]:
    """The rows of the epochs that are left; see `train_to_end`."""
    trainer = session.trainer
    try:
        epochs = trainer.run(
            lambda: session.save_now_and_then(seconds),
            lambda result: session.trained({**_row(result), **describe(result)}),
        )
        while session.progress.unscored is not None or next(epochs, None) is not None:
            assert session.progress.unscored is not None, "the trainer has not reported the epoch that it finished"
            row = session.progress.unscored
            if row["epoch"] % eval_step == 0 or row["epoch"] == trainer.settings.epochs:
                session.save()  # looking takes its time too
                row = {**row, **score()}
            session.progress = _Progress((*session.progress.rows, row))
            session.save()
            yield row
    except InterruptedTrainingError:
        session.save()
        session.checkpoints.finish()
        session.say(f"interrupted in {session.place()}: start the same command again to go on from there")
        raise


@dataclass(frozen=True)
class _Progress:
    """What is known of the epochs that have been trained; replaced as a whole, so that a signal finds it whole.

    Attributes:
        rows: of the epochs that are finished.
        unscored: of one more that has been trained and not been looked at.
    """

    rows: tuple[Row, ...] = ()
    unscored: Row | None = None


class _Session:
    """A trainer, the progress beside it, and the checkpoint that holds both."""

    def __init__(
        self,
        trainer: Trainer,
        path: Path,
        checkpoints: CheckpointWriter,
        settings: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self.trainer, self._path, self.checkpoints, self._settings = trainer, path, checkpoints, dict(settings)
        self.say = say if trainer.processes.first else _say_nothing
        self._saved = time.monotonic()
        self.progress = _Progress()

    def resume(self) -> None:
        """Takes the place of the last checkpoint, read by the first process for all of them."""
        state = load_latest(self._path, self.say) if self.trainer.processes.first else None
        state = self.trainer.processes.from_first(state)
        if state is not None:
            self.trainer.load_state_dict(state["trainer"])
            self.progress = _Progress(tuple(state["rows"]), state["unscored"])
            self.say(f"going on in {self.place()} ({self._path.parent})")

    def trained(self, row: Row) -> None:
        self.progress = _Progress(self.progress.rows, row)

    def save(self) -> None:
        if self.trainer.processes.first:
            progress = {"rows": list(self.progress.rows), "unscored": self.progress.unscored}
            state = {"settings": self._settings, "trainer": self.trainer.state_dict(), **progress}
            self.checkpoints.write(state)
            self._saved = time.monotonic()

    def save_now_and_then(self, seconds: float) -> None:
        if time.monotonic() - self._saved >= seconds:
            self.save()

    def place(self) -> str:
        epochs = self.trainer.settings.epochs
        if self.progress.unscored is not None:
            return f"the evaluation of epoch {self.progress.unscored['epoch']} of {epochs}"
        if self.trainer.next_epoch == epochs:
            return f"epoch {epochs} of {epochs}, which is finished"
        return f"epoch {self.trainer.next_epoch + 1} of {epochs}, step {self.trainer.steps_done + 1}"


def _say_nothing(_: str) -> None:
    """For all processes but the first."""


def _row(result: EpochResult) -> Row:
    values: dict[str, Any] = {
        key: value
        for key, value in vars(result).items()
        if key not in ("labels", "seconds", "epoch") and value is not None
    }
    parts = {f"seconds_{part}": taken for part, taken in result.seconds.items()}
    return {"epoch": result.epoch + 1, **values, "seconds": sum(result.seconds.values()), **parts}
