"""Trains what a study lacks: the experiments that do not exist yet, or were made with other settings or other code."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.files import write_json
from pipeline.study.experiments import Experiment, Planned, current, existing, fresh_names, head, uncommitted
from pipeline.study.outcomes import Result, read_result
from pipeline.study.queue import Queue
from pipeline.study.running import Stop, Tally, require_free, run_all

TARGET = "evaluate"  # the last stage that a comparison needs


@dataclass(frozen=True)
class Surroundings:
    """Where a study runs, and how its trainings are recorded.

    Attributes:
        checkout: The top folder of the project.
        scratch: Folder for the logs of failed experiments and for the tags.
        variable: Of the environment of the trainings, which names a file with the tags of each.
        tags: Variant and seed -> tags of a training in MLflow.
    """

    checkout: Path
    scratch: Path
    variable: str
    tags: Callable[[str, int], dict[str, str]]


@dataclass(frozen=True)
class Outcome:
    """How a study went.

    Attributes:
        total: Number of its experiments.
        failed: Names of those that failed.
        complete: False if it was stopped before the end.
    """

    total: int
    failed: tuple[str, ...] = ()
    complete: bool = True

    @property
    def status(self) -> str:
        """As MLflow calls it."""
        return "FAILED" if self.failed else "FINISHED" if self.complete else "KILLED"

    def require_success(self) -> None:
        """Nothing failed, and nothing was stopped.

        Raises:
            UserError: Something did or was.
        """
        if self.failed:
            raise UserError(f"{len(self.failed)} of {self.total} experiments failed: start the same command again")
        if not self.complete:
            raise UserError("stopped before the end: start the same command again, and it goes on from there")


def read_results(planned: Planned) -> dict[str, Result]:
    """Name -> result of those experiments that exist with today's settings and code."""
    commits = current(planned.experiments, head())
    return {each.name: read_result(each, commits[each.name]) for each in planned.experiments if each.name in commits}


def train_missing(
    planned: Planned,
    results: dict[str, Result],
    *,
    jobs: int,
    around: Surroundings,
    say: Callable[[str], None],
) -> Outcome:
    """Adds to the results what they lack.

    Args:
        planned: The experiments of the study.
        results: Name of an experiment -> its result, of those that exist; the others are added.
        jobs: Number of trainings at a time.
        around: Where they run, and how they are recorded.
        say: Called with a line for the user.

    Raises:
        UserError: The queue of DVC holds other experiments.
    """
    total = len(planned.experiments)
    missing = [each for each in planned.experiments if each.name not in results]
    if not missing:
        return Outcome(total)
    queue = Queue(around.checkout)
    queue.remove(require_free(queue, {each.name for each in missing}))  # they may have had other settings
    if changed := uncommitted():
        say(f"used as in the working copy, not as committed: {', '.join(changed)}")
    for old, new in fresh_names(missing, existing(head())).items():
        queue.rename(old, new)
        say(f"{old} was made with other settings or code: it is called {new} now")
    children = around.scratch / f"{planned.study.name}.json"
    write_json(children, {each.name: around.tags(each.variant, each.seed) for each in planned.experiments})
    tally = Tally(total=total, missing=len(missing))
    failed: list[str] = []

    def ended(experiment: Experiment, commit: str | None) -> None:
        if commit is None:
            failed.append(experiment.name)
            log = queue.save_log(experiment.name, around.scratch / f"{experiment.name}.log")
            outcome = f"FAILED, see {log}" if log else "FAILED before it started: see `dvc queue status`"
        else:
            results[experiment.name] = read_result(experiment, commit)
            outcome = results[experiment.name].outcome()
        say(tally.line(f"{experiment.variant}, seed {experiment.seed}: {outcome}"))

    stop = Stop()
    with stop.watched():
        complete = run_all(
            queue,
            missing,
            checkout=around.checkout,
            jobs=min(jobs, len(missing)),
            target=TARGET,
            marker=(around.variable, str(children)),
            environment=_threads(jobs),
            stop=stop,
            ended=ended,
            say=say,
        )
    return Outcome(total, tuple(failed), complete)


def _threads(jobs: int) -> dict[str, str]:
    """Several trainings at a time share the cores, unless the user has set the number of threads."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // jobs))}
