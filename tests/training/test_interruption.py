"""Killed and told to stop, at any step: a training goes on, and ends bit for bit as it would have without."""

import copy
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.schema import TrainingSettings
from pipeline.model import build
from pipeline.model.checkpoint import load_latest
from pipeline.training.distributed import Processes
from pipeline.training.interruption import InterruptedTrainingError, Interruption
from pipeline.training.session import CHECKPOINT, Row, train_to_end
from pipeline.training.trainer import Trainer
from tests.training.small import change

CLOCKS = ("seconds", "images_per_second")
NUM_KILLS = 20


def train(crowd: Any, small: TrainingSettings, folder: Path, processes: Processes, *, minutes: float) -> dict[str, Any]:
    """A training with its checkpoints in `folder`; what is to be the same however often it was interrupted."""
    torch.manual_seed(1)
    student = build("resnet10_w32", bn_group=8)
    interruption = Interruption()
    trainer = Trainer(
        student,
        copy.deepcopy(student),
        images=crowd.images,
        cameras=crowd.cameras,
        settings=small,
        processes=processes,
        interruption=interruption,
        shown=False,
    )
    recorded: dict[int, Row] = {}

    def score() -> dict[str, float]:
        features = trainer.embed(trainer.student, crowd.images, "test")
        return {"student_mAP": float(features.double().sum())} if processes.first else {}

    def record(row: Row) -> None:
        values = {key: value for key, value in row.items() if not key.startswith(CLOCKS)}
        assert recorded.setdefault(int(row["epoch"]), values) == values

    with interruption.watched():
        rows = train_to_end(
            trainer,
            folder=folder,
            eval_step=2,
            checkpoint_minutes=minutes,
            score=score,
            record=record,
            say=lambda _: None,
            settings={},
        )
    networks = {"student": trainer.student.state_dict(), "teacher": trainer.teacher.state_dict()}
    return {"rows": list(recorded.values()), "epochs": len(rows), "networks": networks}


def process(rank: int, size: int, folder: Path, crowd: Any, small: TrainingSettings, minutes: float) -> None:
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if size > 1:
        meeting = f"file://{folder}/meeting-{os.getppid()}-{small.seed}-{(folder / 'attempt').read_text()}"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    result = train(crowd, small, folder, Processes(rank=rank, size=size), minutes=minutes)
    if rank == 0:
        torch.save(result, folder / "partial")
        (folder / "partial").rename(folder / "result.pt")
    if size > 1:
        torch.distributed.destroy_process_group()


class Attempts:
    """Starts the processes of a training again and again."""

    def __init__(
        self, context: Any, folder: Path, size: int, crowd: Any, small: TrainingSettings, *, minutes: float = 0
    ) -> None:
        self.folder, self.size, self._context = folder, size, context
        self._arguments = (size, folder, crowd, small, minutes)
        self._number = 0
        folder.mkdir()

    def start(self) -> list[Any]:
        self._number += 1
        (self.folder / "attempt").write_text(str(self._number))
        running = [self._context.Process(target=process, args=(rank, *self._arguments)) for rank in range(self.size)]
        for each in running:
            each.start()
        return running

    def finished(self) -> dict[str, Any] | None:
        path = self.folder / "result.pt"
        return torch.load(path, weights_only=True) if path.is_file() else None

    def to_the_end(self) -> dict[str, Any]:
        for each in self.start():
            each.join()
        result = self.finished()
        assert result is not None
        return result

    def kill(self, running: list[Any], victims: list[Any]) -> None:
        for each in victims:
            each.kill()
        time.sleep(0.02)
        for each in running:  # torchrun does this when one has died
            each.kill()
            each.join()


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """Starts processes from one that has all the imports: twenty starts in seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.test_interruption", "pipeline.clustering"])
    yield context


@pytest.fixture
def long_settings(small: TrainingSettings) -> TrainingSettings:
    return change(small, epochs=4, train__iters=6)


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["rows"] == expected["rows"] and found["epochs"] == expected["epochs"]
    for role, network in expected["networks"].items():
        assert [key for key, value in network.items() if not torch.equal(found["networks"][role][key], value)] == []


# DCCC and all that knows cameras: the distance, and from the second epoch on weights and proxies of other cameras.
CAMERA_PARTS = {
    "method": "dccc_cam",
    "clustering__eps": 0.35,
    "loss__camera_weight": "cluster",
    "loss__camera_weight_after": 1,
    "loss__proxies": 0.5,
    "loss__proxies_after": 1,
}


@pytest.mark.parametrize(
    ("size", "parts"), [(1, {}), (2, CAMERA_PARTS)], ids=["one process", "two processes, camera parts"]
)
def test_training_killed_at_random_times_ends_bit_for_bit_the_same(
    size: int, parts: dict[str, Any], context: Any, crowd: Any, long_settings: TrainingSettings, tmp_path: Path
) -> None:
    """SIGKILL of one process or of all, at random steps of a training that writes a checkpoint after each."""
    long_settings = change(long_settings, **parts)
    expected = Attempts(context, tmp_path / "whole", size, crowd, long_settings).to_the_end()
    generator = random.Random(size)
    kills, trainings, steps = 0, 0, set()
    while kills < NUM_KILLS // 2:
        trainings += 1
        attempts = Attempts(context, tmp_path / f"parts{trainings}", size, crowd, long_settings)
        while attempts.finished() is None and kills < NUM_KILLS // 2:
            running = attempts.start()
            checkpoint = attempts.folder / CHECKPOINT
            before = _written(checkpoint)
            while running[0].is_alive() and _written(checkpoint) in (0, before):  # it has not made progress yet
                time.sleep(0.002)
            time.sleep(generator.uniform(0, 0.25))
            if attempts.finished() is None:
                attempts.kill(running, [generator.choice(running)] if generator.random() < 0.5 else running)
                kills += 1
                steps.add(_place(checkpoint))
            for each in running:
                each.join()
        found = attempts.finished() or attempts.to_the_end()
        assert_same(found, expected)
    assert len(steps) >= 4, f"killed at few places: {steps}"


def _written(checkpoint: Path) -> int:
    """When it was written; 0 where there is none, which is so for a moment between the two renames of a new one."""
    try:
        return checkpoint.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _place(checkpoint: Path) -> tuple[int, int]:
    state = load_latest(checkpoint, lambda _: None)  # it may have been killed between its two renames
    assert state is not None
    running = state["trainer"]["running"]
    return state["trainer"]["epoch"], running["steps_done"] if running else 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("size", [1, 2])
def test_training_told_to_stop_leaves_a_checkpoint_between_two_steps(
    size: int, number: signal.Signals, context: Any, crowd: Any, long_settings: TrainingSettings, tmp_path: Path
) -> None:
    expected = Attempts(context, tmp_path / "whole", size, crowd, long_settings).to_the_end()
    attempts = Attempts(context, tmp_path / "parts", size, crowd, long_settings, minutes=60)
    checkpoint = attempts.folder / CHECKPOINT
    running = attempts.start()
    while not checkpoint.is_file():  # of the first epoch: there are no others
        assert running[0].is_alive()
        time.sleep(0.002)
    time.sleep(0.1)
    for each in running:
        os.kill(each.pid, number)
        time.sleep(0.01)  # torchrun does not reach all of them at once either
    for each in running:
        each.join(20)
        assert each.exitcode not in (None, 0)
    if attempts.finished() is None:
        assert _place(checkpoint) > (0, 0)
        assert_same(attempts.to_the_end(), expected)


def test_signal_is_kept_until_the_step_is_done() -> None:
    interruption = Interruption()
    done = []
    with interruption.watched():
        with pytest.raises(InterruptedTrainingError):
            with interruption.deferred():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("the step")
            done.append("never")
        assert interruption.asked and done == ["the step"]


def test_signal_outside_a_step_ends_the_training_at_once() -> None:
    interruption = Interruption()
    with interruption.watched(), pytest.raises(InterruptedTrainingError):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        pytest.fail("not reached")


def test_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with Interruption().watched():
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_trainer_stops_between_two_steps_and_goes_on_in_another(crowd: Any, long_settings: TrainingSettings) -> None:
    """The state after any number of steps is all that another trainer needs."""

    def make() -> tuple[Trainer, Interruption]:
        torch.manual_seed(1)
        student = build("resnet10_w32", bn_group=8)
        interruption = Interruption()
        return Trainer(
            student,
            copy.deepcopy(student),
            images=crowd.images,
            cameras=crowd.cameras,
            settings=long_settings,
            interruption=interruption,
            shown=False,
        ), interruption

    whole, _ = make()
    list(whole.run())
    for steps in (1, 5, 6, 7, 23):
        first, interruption = make()
        taken = 0

        def stop_in_time(steps: int = steps, interruption: Interruption = interruption) -> None:
            nonlocal taken
            taken += 1
            if taken == steps:
                interruption.signal = signal.SIGTERM

        with pytest.raises(InterruptedTrainingError):
            list(first.run(stop_in_time))
        # The step that passes the wish on is finished; behind the last of an epoch there is none.
        assert first.step == (steps if steps % 6 == 0 else steps + 1)
        second, _ = make()
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        list(second.run())
        for mine, theirs in ((whole.student, second.student), (whole.teacher, second.teacher)):
            other = theirs.state_dict()
            assert [key for key, value in mine.state_dict().items() if not torch.equal(other[key], value)] == []
