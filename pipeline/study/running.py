"""Works off the experiments of a study, tells how far it is, and stops when it is told to."""

import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType

from pipeline.common.errors import UserError
from pipeline.common.locks import locked
from pipeline.study.experiments import Experiment
from pipeline.study.queue import Queue, Workers

_LOOK = 1.0  # seconds between two looks at the queue
_LOST = 5  # looks without a trace of an experiment, after which it counts as failed
_PATIENCE = 20.0  # seconds for workers that have nothing to do


class Stop:
    """How often this process was asked to stop (SIGINT, SIGTERM) in a block of `watched`."""

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Takes the signals for as long as the block lasts; only the main thread of a process can."""

        def take(number: int, frame: FrameType | None) -> None:
            self.asked += 1

        before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_all(
    queue: Queue,
    experiments: Sequence[Experiment],
    *,
    checkout: Path,
    jobs: int,
    target: str,
    environment: Mapping[str, str],
    log: Path,
    stop: Stop,
    ended: Callable[[Experiment, bool], None],
    tell: Callable[[str], None],
) -> bool:
    """Queues experiments and runs them, `jobs` at a time.

    Args:
        queue: of the checkout; it must hold no experiments but these.
        target: stage to run them up to.
        environment: variables of the workers, beside those of this process.
        log: of the workers themselves.
        stop: asked once, what runs may write its checkpoint; asked again, all ends at once.
        ended: called with each experiment that has ended, and whether it ended well.
        tell: called with a line for a person.

    Returns:
        False if it was stopped before the end.
    """
    waiting = {each.name: each for each in experiments}
    queue.withdraw(waiting)  # what is left of an earlier start: it may have had other settings
    for each in experiments:
        if stop.asked:
            queue.withdraw(waiting)
            return False
        queue.add(each.name, each.changes, target=target)
    workers = Workers(checkout, jobs=jobs, environment=environment, log=log)
    missing = dict.fromkeys(waiting, 0)
    try:
        while waiting and not stop.asked:
            time.sleep(_LOOK)
            states = queue.states()
            for name in list(waiting):
                missing[name] = 0 if name in states else missing[name] + 1
                if states.get(name) in ("done", "failed") or missing[name] >= _LOST:
                    ended(waiting.pop(name), states.get(name) == "done")
            if waiting and not workers.alive():
                raise UserError(f"the workers of DVC's queue ended before their work did: {log}")
        if waiting:
            _stop(queue, workers, waiting, stop=stop, tell=tell)
        return not waiting
    finally:
        queue.withdraw([name for name, state in queue.states().items() if name in waiting and state == "queued"])
        workers.end()
        if not workers.wait(_PATIENCE):
            workers.kill()


def _stop(
    queue: Queue, workers: Workers, waiting: Mapping[str, Experiment], *, stop: Stop, tell: Callable[[str], None]
) -> None:
    tell("stopping: the trainings that run write a checkpoint (once more: at once)")
    queue.withdraw([name for name, state in queue.states().items() if name in waiting and state == "queued"])
    workers.interrupt()
    while not workers.wait(0.5):
        if stop.asked > 1:
            workers.kill()


class Tally:
    """Counts what has ended, and guesses how long the rest takes."""

    def __init__(self, *, total: int, missing: int) -> None:
        self._total, self._missing, self._done = total, missing, 0
        self._started = time.monotonic()

    def line(self, told: str) -> str:
        """The line for one more that has ended: `[3/15] ... (9 min, about 36 min left)`."""
        self._done += 1
        passed, left = time.monotonic() - self._started, self._missing - self._done
        rest = f", about {duration(passed / self._done * left)} left" if left else ""
        return f"[{self._total - left}/{self._total}] {told} ({duration(passed)}{rest})"


def require_free(queue: Queue, names: Collection[str]) -> None:
    """Makes sure that the queue runs nothing, and holds nothing but `names`, since workers take whatever is there.

    Raises:
        UserError: see above.
    """
    states = queue.states()
    if busy := [name for name, state in states.items() if state == "running"]:
        raise UserError(f"DVC is still running {', '.join(busy)}: wait for it, or `dvc queue kill {busy[0]}`")
    if others := [name for name, state in states.items() if state == "queued" and name not in names]:
        raise UserError(
            f"DVC's queue holds what is not of this study ({', '.join(others)}):"
            " run it (`dvc queue start`), or take it out (`dvc queue remove --queued`)"
        )


def alone(path: Path) -> AbstractContextManager[None]:
    """Keeps other studies of the checkout out for as long as the block lasts.

    Raises:
        UserError: there is one.
    """
    return locked(path, taken="another study is running in this checkout: wait for it")


def duration(seconds: float) -> str:
    """`42 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
