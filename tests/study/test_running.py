"""Waiting for DVC's queue, whose workers may end before their work."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.study import running
from pipeline.study.experiments import Experiment
from pipeline.study.queue import Task
from pipeline.study.running import Stop, run_all

NAMES = tuple(f"toy-run-{seed}" for seed in range(12))


class FakeQueue:
    """Each worker trains one experiment per look; the workers of the first `deaths` starts end at once.

    Those that are `tired` end after an experiment each.
    """

    def __init__(self, deaths: int = 0, *, tired: bool = False) -> None:
        self.states: dict[str, str] = {}
        self.workers, self.started, self._deaths, self._tired = 0, 0, deaths, tired

    def add(self, name: str, changes: Mapping[str, Any], *, target: str) -> None:
        self.states[name] = "Queued"

    def start(self, jobs: int, *, environment: Mapping[str, str]) -> None:
        self.started += 1
        self.workers = jobs
        if self._deaths:
            self._deaths -= 1
            self.workers = 0

    def tasks(self) -> list[Task]:
        told = [Task(name, name, state) for name, state in self.states.items()]  # type: ignore[arg-type]
        for name in [name for name, state in self.states.items() if state == "Queued"][: self.workers]:
            self.states[name] = "Success"
        self.workers = 0 if self._tired else self.workers
        return told

    def interrupt(self, names: Any) -> None:
        self.workers = 0


def run(queue: FakeQueue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[list[str], list[str]]:
    """What ended, and what was said."""
    monkeypatch.setattr(running, "_LOOK", 0.001)
    monkeypatch.setattr(running, "_SHORTEST_LOOK", 0.0)
    monkeypatch.setattr(running, "head", lambda: "revision")
    monkeypatch.setattr(running, "existing", lambda revision: {})
    monkeypatch.setattr(running, "num_workers", lambda *marker: queue.workers)
    monkeypatch.setattr(running, "marked_processes", lambda *marker: [None] * queue.workers)
    monkeypatch.setattr(running, "wait_for_end", lambda *marker, seconds: True)
    ended: list[str] = []
    said: list[str] = []
    run_all(
        queue,  # type: ignore[arg-type]
        [Experiment(name, "toy", name, 1, {}) for name in NAMES],
        checkout=tmp_path,
        jobs=2,
        target="evaluate",
        marker=("REID_STUDY", f"test-{time.monotonic()}"),
        environment={},
        stop=Stop(),
        ended=lambda experiment, commit: ended.append(experiment.name),
        say=said.append,
    )
    return ended, said


def test_worker_that_ended_early_is_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    queue = FakeQueue(deaths=2)
    ended, said = run(queue, monkeypatch, tmp_path)
    assert sorted(ended) == sorted(NAMES) and queue.started == 3
    assert said == ["0 of 2 workers of DVC's queue are left: starting the others again"] * 2


def test_workers_that_work_are_started_again_as_often_as_it_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queue = FakeQueue(tired=True)
    ended, _ = run(queue, monkeypatch, tmp_path)
    assert sorted(ended) == sorted(NAMES) and queue.started > 1 + running._RESTARTS


def test_workers_that_never_work_end_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    queue = FakeQueue(deaths=100)
    with pytest.raises(UserError, match="workers of DVC's queue ended before their work"):
        run(queue, monkeypatch, tmp_path)
    assert queue.started == 1 + running._RESTARTS
