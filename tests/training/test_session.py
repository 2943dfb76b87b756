"""A training from its first epoch, or from where it was, to its last: by a trainer that does sums instead."""

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.model.checkpoint import FINISHED, delete_checkpoints, delete_recorded, load_checkpoint
from pipeline.training.distributed import Processes
from pipeline.training.results import EpochResult
from pipeline.training.session import CHECKPOINT, Row, train_to_end
from pipeline.training.trainer import Trainer

EPOCHS = 5


class Together(Processes):
    """Of several processes that take turns in this one."""

    told: Any = None

    def from_first(self, value: Any) -> Any:
        if self.first:
            Together.told = value
        return Together.told


class Adder:
    """Stands for a `Trainer`: its one weight becomes half of itself plus the number of the epoch."""

    def __init__(self, epochs: int = EPOCHS, *, rank: int = 0, recall: float | None = None) -> None:
        self.settings = SimpleNamespace(epochs=epochs)
        self.processes = Together(rank=rank, size=rank + 1)
        self.weight, self.next_epoch, self.recall, self.steps_done = torch.ones(2), 0, recall, 0

    def run(self, on_step: Callable[[], None], on_epoch: Callable[[EpochResult], None]) -> Iterator[EpochResult]:
        while self.next_epoch < self.settings.epochs:
            self.weight = self.weight / 2 + self.next_epoch
            on_step()
            self.next_epoch += 1
            result = EpochResult(
                epoch=self.next_epoch - 1,
                eps=0.6,
                learning_rate=1e-3,
                num_clusters=10 + self.next_epoch,
                num_outliers=3,
                loss=float(self.weight[0]),
                loss_hard=0.0,
                loss_soft=1.0,
                neighbour_recall=self.recall,
                images_per_second=100.0,
                seconds={"extract": 1.0, "train": 2.5},
                labels=np.zeros(4, dtype=int),
            )
            on_epoch(result)
            yield result

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight, "epoch": self.next_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weight, self.next_epoch = state["weight"], state["epoch"]


class Stage:
    """What a stage wires in, and what it was called with."""

    def __init__(self, folder: Path, trainer: Adder | None = None, *, eval_step: int = 2, minutes: float = 10) -> None:
        self.folder, self.trainer, self.eval_step, self.minutes = folder, trainer or Adder(), eval_step, minutes
        self.scored: list[int] = []
        self.recorded: list[Row] = []
        self.told: list[str] = []

    def score(self) -> dict[str, float]:
        self.scored.append(self.trainer.next_epoch)
        return {"student_mAP": float(self.trainer.weight.sum())} if self.trainer.processes.first else {}

    def run(self, record: Callable[[Row], None] | None = None, **more: Any) -> list[Row]:
        return train_to_end(
            cast(Trainer, self.trainer),
            folder=self.folder,
            eval_step=self.eval_step,
            score=self.score,
            record=record or self.recorded.append,
            say=self.told.append,
            checkpoint_minutes=self.minutes,
            settings={"dataset": "toy"},
            **more,
        )


def test_rows_by_hand(tmp_path: Path) -> None:
    # 1 -> 1/2 -> 1.25 -> 2.625, scored after epochs 2 and 3.
    rows = Stage(tmp_path, Adder(3)).run()
    assert rows[0] == {
        "epoch": 1,
        "eps": 0.6,
        "learning_rate": 1e-3,
        "num_clusters": 11,
        "num_outliers": 3,
        "loss": 0.5,
        "loss_hard": 0.0,
        "loss_soft": 1.0,
        "images_per_second": 100.0,
        "seconds": 3.5,
        "seconds_extract": 1.0,
        "seconds_train": 2.5,
    }
    assert [row["loss"] for row in rows] == [0.5, 1.25, 2.625]
    assert [row.get("student_mAP") for row in rows] == [None, 2.5, 5.25]


def test_rows_name_the_recall_where_it_was_measured(tmp_path: Path) -> None:
    assert Stage(tmp_path / "ivf", Adder(1, recall=0.75)).run()[0]["neighbour_recall"] == 0.75
    assert "neighbour_recall" not in Stage(tmp_path / "exact", Adder(1)).run()[0]


def test_rows_have_what_describes_the_epoch(tmp_path: Path) -> None:
    rows = Stage(tmp_path, Adder(3)).run(describe=lambda result: {"purity": result.epoch / 10})
    assert [row["purity"] for row in rows] == [0.0, 0.1, 0.2]


def test_epochs_are_told_once_and_those_of_before_an_interruption_are_recorded_alone(tmp_path: Path) -> None:
    told: list[float] = []
    stage = Stage(tmp_path, Adder(3))
    assert [row["epoch"] for row in stage.run(tell=lambda row: told.append(row["epoch"]))] == told == [1, 2, 3]
    again = Stage(tmp_path, Adder(5))  # goes on from the checkpoint
    again.run(tell=lambda row: told.append(row["epoch"]))
    assert told == [1, 2, 3, 4, 5] and [row["epoch"] for row in again.recorded] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("eval_step", "epochs"),
    [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5]), (4, [4, 5]), (5, [5]), (100, [5])],
)
def test_networks_are_scored_every_so_many_epochs_and_after_the_last(
    tmp_path: Path, eval_step: int, epochs: list[int]
) -> None:
    stage = Stage(tmp_path, eval_step=eval_step)
    rows = stage.run()
    assert stage.scored == epochs
    assert [row["epoch"] for row in rows if "student_mAP" in row] == epochs


def test_every_epoch_is_recorded_once_and_the_last_checkpoint_has_them_all(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.run() == stage.recorded
    assert [row["epoch"] for row in stage.recorded] == [1, 2, 3, 4, 5]
    state = load_checkpoint(tmp_path / CHECKPOINT)
    assert state is not None and state["rows"] == stage.recorded and state["settings"] == {"dataset": "toy"}
    assert stage.told == []


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes its time: epoch 2 is trained before the checkpoint of epoch 1, of its weights, is there."""
    stage, goes_on, written = Stage(tmp_path), threading.Event(), []

    def slowly(path: Path, state: dict[str, Any]) -> None:
        assert goes_on.wait(60)
        written.append((state["trainer"]["epoch"], float(state["trainer"]["weight"][0]), stage.trainer.next_epoch))

    def second_epoch(result: EpochResult) -> Row:
        if result.epoch == 1:
            goes_on.set()
        return {}

    monkeypatch.setattr("pipeline.model.checkpoint.save_checkpoint", slowly)
    stage.run(describe=second_epoch)
    assert written[0] == (1, 0.5, 2) and written[-1][0] == EPOCHS, written


@pytest.mark.parametrize("epoch", [1, EPOCHS])
def test_checkpoint_that_cannot_be_written_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    def full(path: Path, state: dict[str, Any]) -> None:
        if state["trainer"]["epoch"] == epoch:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.model.checkpoint.save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        Stage(tmp_path).run()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("checkpoint")]


def interrupted(stage: Stage, after: int) -> None:
    """Runs as far as the record of epoch `after`, which raises."""

    def record(row: Row) -> None:
        stage.recorded.append(row)
        if row["epoch"] == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(record)


@pytest.mark.parametrize("eval_step", [1, 2, 3])
@pytest.mark.parametrize("after", range(1, EPOCHS + 1))
def test_resume_after_any_epoch_gives_the_same_rows(tmp_path: Path, after: int, eval_step: int) -> None:
    whole = Stage(tmp_path / "whole", eval_step=eval_step)
    expected = whole.run()
    first, second = (Stage(tmp_path / "parts", eval_step=eval_step) for _ in range(2))
    interrupted(first, after)
    assert second.run() == expected
    assert torch.equal(second.trainer.weight, whole.trainer.weight)
    assert first.recorded == expected[:after]
    assert second.recorded == expected, "rows are told again: whoever keeps them knows which are there"
    assert first.scored + second.scored == whole.scored
    place = f"epoch {after + 1} of 5, step 1" if after < EPOCHS else "epoch 5 of 5, which is finished"
    assert second.told == [f"going on in {place} ({tmp_path / 'parts'})"]


def test_resume_as_often_as_it_takes(tmp_path: Path) -> None:
    expected = Stage(tmp_path / "whole").run()
    for epoch in range(1, EPOCHS + 1):
        interrupted(Stage(tmp_path / "parts"), epoch)
    assert Stage(tmp_path / "parts").run() == expected


def test_resume_looks_at_the_epoch_that_was_trained_and_not_looked_at(tmp_path: Path) -> None:
    class Failing(Stage):
        def score(self) -> dict[str, float]:
            raise RuntimeError("no memory")

    expected = Stage(tmp_path / "whole").run()
    with pytest.raises(RuntimeError, match="no memory"):
        Failing(tmp_path / "parts").run()  # in epoch 2, before its checkpoint
    again = Stage(tmp_path / "parts")
    assert again.run() == expected
    assert again.told == [f"going on in the evaluation of epoch 2 of 5 ({tmp_path / 'parts'})"]
    assert again.scored == [2, 4, 5] and again.recorded == expected


def test_resume_from_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"half")
    stage = Stage(tmp_path)
    with pytest.raises(UserError, match=r"checkpoint\.pt is no checkpoint of this version"):
        stage.run()
    assert stage.trainer.next_epoch == 0


def test_other_processes_train_and_score_but_write_and_record_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Adder(rank=1))
    Together.told = None
    rows = stage.run()
    assert stage.scored == [2, 4, 5] and stage.trainer.next_epoch == EPOCHS
    assert len(rows) == EPOCHS and not any("student_mAP" in row for row in rows)
    assert stage.recorded == [] and list(tmp_path.iterdir()) == []


def test_other_processes_go_on_from_the_checkpoint_of_the_first(tmp_path: Path) -> None:
    first, other = Stage(tmp_path), Stage(tmp_path, Adder(rank=1))
    interrupted(first, 3)
    Together.told = load_checkpoint(tmp_path / CHECKPOINT)
    other.run()
    assert other.scored == [4, 5] and other.told == []
    whole = Stage(tmp_path / "whole")
    whole.run()
    assert torch.equal(other.trainer.weight, whole.trainer.weight)


def test_training_without_scores_has_rows_all_the_same(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.score = dict  # type: ignore[method-assign]
    rows = stage.run()
    assert len(rows) == EPOCHS and all(math.isfinite(value) for row in rows for value in row.values())


@pytest.mark.parametrize(("minutes", "expected"), [(10.0, [1, 2, 2]), (0.0, [0, 1, 1, 2, 2])])
def test_checkpoints_are_written_between_steps_when_it_is_time(
    tmp_path: Path, minutes: float, expected: list[int]
) -> None:
    """Epochs finished at each checkpoint: of two, of one step each, the last of which is looked at."""
    finished: list[int] = []

    class Watched(Adder):
        def state_dict(self) -> dict[str, Any]:
            finished.append(self.next_epoch)
            return super().state_dict()

    Stage(tmp_path, Watched(2), eval_step=3, minutes=minutes).run()
    assert finished == expected


def test_delete_checkpoints_removes_the_checkpoint_and_what_lies_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "0123456789abcdef"
    Stage(folder).run()
    (folder / "run.json").write_text("{}")
    delete_checkpoints(folder)
    assert list(tmp_path.iterdir()) == []
    delete_checkpoints(folder)


def test_delete_checkpoints_starts_the_training_afresh(tmp_path: Path) -> None:
    first, second = Stage(tmp_path / "run"), Stage(tmp_path / "run")
    expected = first.run()
    delete_checkpoints(tmp_path / "run")
    assert second.run() == expected == second.recorded


def test_finished_training_is_deleted_when_a_later_stage_runs(tmp_path: Path) -> None:
    for name in ("finished", "running"):
        Stage(tmp_path / name / "run", Adder()).run()
    (tmp_path / "finished" / "run" / FINISHED).touch()
    for name in ("finished", "running"):
        delete_recorded(tmp_path / name, {"fingerprint": "run"})
        assert (tmp_path / name / "run").exists() == (name == "running")
    delete_recorded(tmp_path, {})  # of a version that knew no fingerprint
