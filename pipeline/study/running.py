"""Runs the experiments of a study, reports progress, and stops when it is asked to."""

import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pipeline.common.errors import UserError
from pipeline.study.experiments import Experiment, existing, head
from pipeline.study.guard import guarded
from pipeline.study.queue import Queue, Task, kill_marked, marked_processes, num_workers, wait_for_end

_LOOK = 1.0  # seconds between two looks at git, which has the experiments that ended well
# Seconds between two looks at the queue, which has those that failed; each is a process of some seconds.
_SHORTEST_LOOK, _LONGEST_LOOK = 5.0, 60.0
_IDLE = 60.0  # seconds for workers that have nothing to do
_RESTARTS = 3  # of workers, between two experiments that end


class Stop:
    """How often this process was asked to stop (SIGINT, SIGTERM) in a block of `watched`."""

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handles the signals for as long as the block lasts; only the main thread of a process can."""

        def take(number: int, frame: FrameType | None) -> None:
            self.asked += 1

        before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Workers:
    """Those of DVC's queue, started anew where one ends before its work.

    DVC's queue hands messages on as files, and a worker ends by one that another process has half written.
    """

    def __init__(
        self,
        queue: Queue,
        jobs: int,
        *,
        marker: tuple[str, str],
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._queue, self._jobs, self._marker, self._say = queue, jobs, marker, say
        self._environment = {**environment, marker[0]: marker[1]}
        self._restarts = _RESTARTS

    def start(self) -> None:
        self._queue.start(self._jobs, environment=self._environment)

    def replace(self, *, queued: int) -> bool:
        """Starts those that are missing for `queued` experiments; whether there were any."""
        there = num_workers(*self._marker)
        if not queued or there >= self._jobs or not self._restarts:
            return False
        self._restarts -= 1
        self._say(f"{there} of {self._jobs} workers of DVC's queue are left: starting the others again")
        self.start()
        return True

    def has_ended_one(self) -> None:
        """An experiment has ended: they do work."""
        self._restarts = _RESTARTS


def run_all(
    queue: Queue,
    experiments: Sequence[Experiment],
    *,
    checkout: Path,
    jobs: int,
    target: str,
    marker: tuple[str, str],
    environment: Mapping[str, str],
    stop: Stop,
    ended: Callable[[Experiment, str | None], None],
    say: Callable[[str], None],
) -> bool:
    """Queues experiments and runs them, `jobs` at a time.

    Args:
        queue: Of the checkout; it must hold no experiments but these.
        experiments: None of their names may exist on the current revision.
        checkout: The top folder of the project.
        jobs: Number of experiments at a time.
        target: Stage to run them up to.
        marker: Name and value of a variable by which the workers, and all that they start, are found.
        environment: Further variables of the workers, besides those of this process.
        stop: Asked once, running experiments may write their checkpoint; asked again, all ends at once.
        ended: Called with each experiment that has ended, and its commit, or None if it failed.
        say: Called with a line for the user.

    Returns:
        False if it was stopped before the end.
    """
    waiting = {each.name: each for each in experiments}
    revision = head()
    for each in experiments:
        if stop.asked:
            queue.interrupt(waiting)
            return False
        queue.add(each.name, each.changes, target=target)
    with guarded(checkout, *marker):
        workers = _Workers(queue, jobs, marker=marker, environment=environment, say=say)
        workers.start()
        try:
            _wait(queue, waiting, revision=revision, marker=marker, workers=workers, stop=stop, ended=ended)
            if waiting:
                say("stopping: the trainings that run write a checkpoint (once more: at once)")
                _interrupt(queue, set(waiting), marker=marker, stop=stop)
            elif not wait_for_end(*marker, seconds=_IDLE):
                queue.kill()
        except BaseException:
            queue.interrupt(waiting)
            raise
        finally:
            kill_marked(*marker)
    return not waiting


def _wait(
    queue: Queue,
    waiting: dict[str, Experiment],
    *,
    revision: str,
    marker: tuple[str, str],
    workers: _Workers,
    stop: Stop,
    ended: Callable[[Experiment, str | None], None],
) -> None:
    """Takes out of `waiting` what has ended, until nothing is left or the user wants to stop."""
    last_event = last_look = time.monotonic()
    lost: set[str] = set()
    while waiting and not stop.asked:
        time.sleep(_LOOK)
        done: dict[str, str | None] = {name: commit for name, commit in existing(revision).items() if name in waiting}
        now, at_work = time.monotonic(), bool(marked_processes(*marker))
        pause = min(max((now - last_event) / 5, _SHORTEST_LOOK), _LONGEST_LOOK)
        if not at_work or now - last_look >= pause:
            states = {task.name: task.state for task in queue.tasks()}
            found = existing(revision)  # after the states: what is not running any more has left its experiment
            absent = {name for name in waiting if name not in states}  # for a moment, between queued and running
            ended_now = {name for name in waiting if states.get(name) in ("Failed", "Success")} | (absent & lost)
            done |= {name: found.get(name) for name in ended_now}
            lost = absent
            last_look = time.monotonic()
            queued = sum(states.get(name) == "Queued" for name in waiting)
            if not workers.replace(queued=queued) and not at_work and not done and not lost:
                raise UserError("the workers of DVC's queue ended before their work: see `dvc queue status`")
        for name, commit in done.items():
            ended(waiting.pop(name), commit)
            workers.has_ended_one()
            last_event = time.monotonic()


def _interrupt(queue: Queue, names: Collection[str], *, marker: tuple[str, str], stop: Stop) -> None:
    """Takes back what is queued and interrupts what runs; when asked to stop once more, kills it."""
    queue.interrupt(names)
    while not wait_for_end(*marker, seconds=0.5):
        if stop.asked > 1:
            queue.kill()
            kill_marked(*marker)


class Tally:
    """Counts the experiments that have ended, and estimates how long the rest takes."""

    def __init__(self, *, total: int, missing: int) -> None:
        self._total, self._missing, self._done = total, missing, 0
        self._started = time.monotonic()

    def line(self, text: str) -> str:
        """The line for one more that has ended: `[3/15] ... (9 min, about 36 min left)`."""
        self._done += 1
        passed, left = time.monotonic() - self._started, self._missing - self._done
        rest = f", about {duration(passed / self._done * left)} left" if left else ""
        return f"[{self._total - left}/{self._total}] {text} ({duration(passed)}{rest})"


def require_free(queue: Queue, names: Collection[str]) -> list[Task]:
    """Makes sure that the queue runs nothing, and holds nothing but `names`, since workers take whatever is there.

    Returns:
        The tasks of these names, which an earlier start left.

    Raises:
        UserError: See above.
    """
    tasks = queue.tasks()
    if busy := [task.name or task.id for task in tasks if task.state == "Running"]:
        raise UserError(f"DVC is still running {', '.join(busy)}: wait for it, or `dvc queue kill {busy[0]}`")
    if others := [task.name or task.id for task in tasks if task.state == "Queued" and task.name not in names]:
        raise UserError(
            f"DVC's queue holds experiments of others ({', '.join(others)}):"
            " run them (`dvc queue start`) or remove them (`dvc queue remove --queued`)"
        )
    return [task for task in tasks if task.name in names]


def duration(seconds: float) -> str:
    """`42 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
