"""One MLflow run a training, to which all stages write.

The training starts the run and leaves its id beside the model; `evaluate` and `report` add to it. A stage that DVC
restores from its cache logs nothing: its run is there already, under the id that comes back with the model.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json
from pipeline.common.flatten import flatten
from pipeline.evaluation.metrics import heading_of
from pipeline.tracking.children import study_tags
from pipeline.tracking.server import EXPERIMENT, answering, exists, find_experiment, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["EXPERIMENT", "NoRun", "Run", "open_run", "start_run", "tracked"]

_PARAMS_A_CALL = 100


class Run:
    """One run in MLflow.

    Attributes:
        id: MLflow's name for it.
    """

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client, self.id = client, run_id
        self._epochs: set[int] | None = None  # that the run has; asked once

    @property
    def client(self) -> "MlflowClient":
        """For what else belongs to a run; to be used in a block of `answering`."""
        return self._client

    def answering(self) -> AbstractContextManager[None]:
        """Turns errors of MLflow into one line, see `pipeline.tracking.server.answering`."""
        return answering(self._client.tracking_uri)

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Adds the figures of an epoch (`epoch` counts from 1) unless the run has it: a training that goes on after an
        interruption tells every epoch again, so that none is missing and none is there twice."""
        if self._epochs is None:
            with answering(self._client.tracking_uri):
                self._epochs = {point.step for point in self._client.get_metric_history(self.id, "epoch")}
        epoch = int(row["epoch"])
        if epoch not in self._epochs:
            self.log_metrics(row, step=epoch)
            self._epochs.add(epoch)

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Adds a point to each of the curves, in one call. Values that are not finite are left out."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        points = [Metric(key, float(v), now, step) for key, v in values.items() if abs(float(v)) < float("inf")]
        with answering(self._client.tracking_uri):
            self._client.log_batch(self.id, metrics=points)

    def log_scores(self, summary: Mapping[str, float], *, step: int) -> None:
        """Adds the final scores, named as in the report; those that the run has already are not added again.

        Args:
            summary: as reports/summary.json holds them.
            step: the last epoch.
        """
        with answering(self._client.tracking_uri):
            known = self._client.get_run(self.id).data.metrics
        named = {heading_of(key): float(value) for key, value in summary.items()}
        self.log_metrics({name: value for name, value in named.items() if known.get(name) != value}, step=step)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copies a file or a folder into the run."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        with answering(self._client.tracking_uri):
            log(self.id, str(path), folder)

    def end(self, status: str = "FINISHED") -> None:
        """FINISHED, FAILED or KILLED."""
        with answering(self._client.tracking_uri):
            self._client.set_terminated(self.id, status)


@contextmanager
def tracked(
    checkout: Path, *, name: str, settings: Mapping[str, Any], tags: Mapping[str, str], resume: Path, shown: bool
) -> Iterator["Run | NoRun"]:
    """A run for as long as the block lasts: FINISHED when it ends, KILLED when it is interrupted, else FAILED.

    Args:
        checkout, name, settings, tags: see `start_run`.
        resume: file that keeps the id of the run, so that an interrupted training goes on in the same one.
        shown: False in all processes but the first: nothing is recorded, and MLflow is not even imported.
    """
    if not shown:
        yield NoRun()
        return
    before = read_json(resume)["run_id"] if resume.is_file() else None
    run = start_run(checkout, name=name, settings=settings, tags=tags, resume=before)
    write_json(resume, {"run_id": run.id})
    try:
        yield run
    except BaseException as error:
        with suppress(UserError):  # where MLflow is gone too, the first reason is the one to tell
            run.end("KILLED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAILED")
        raise
    run.end()


class NoRun:
    """Takes what a `Run` takes, and records nothing."""

    id = ""

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Does nothing."""


def start_run(
    checkout: Path, *, name: str, settings: Mapping[str, Any], tags: Mapping[str, str], resume: str | None = None
) -> Run:
    """Starts a run, or goes on with the run `resume` if the tracking server knows it.

    Args:
        checkout: holds mlflow.db and mlruns/ unless MLFLOW_TRACKING_URI names a server.
        name: what a person finds it by; DVC's name of the experiment comes first, where there is one.
        settings: nested; logged as parameters `section.key`.
        tags: for instance the digest of the data.
        resume: id of an earlier run.
    """
    client = open_client(checkout)
    with answering(client.tracking_uri, "takes no run"):
        if resume is not None and exists(client, resume):
            client.update_run(resume, status="RUNNING")
            return Run(client, resume)
        experiment = find_experiment(client, checkout)
        title = os.environ.get("DVC_EXP_NAME")
        name = f"{title} ({name})" if title else name
        run = client.create_run(experiment, run_name=name, tags={**_git_tags(checkout), **tags, **study_tags(title)})
        _log_settings(client, run.info.run_id, settings)
        return Run(client, run.info.run_id)


def open_run(checkout: Path, run_id: str, *, name: str, settings: Mapping[str, Any]) -> Run:
    """The run of a training that has ended; if the tracking server does not know it, one new run for all stages."""
    client = open_client(checkout)
    with answering(client.tracking_uri, "takes no run"):
        if exists(client, run_id):
            return Run(client, run_id)
        experiment = find_experiment(client, checkout)
        for instead in client.search_runs([experiment], f"tags.missing_run = '{run_id}'", max_results=1):
            return Run(client, instead.info.run_id)  # another stage has been here
    run = start_run(checkout, name=name, settings=settings, tags={"missing_run": run_id})
    run.end()
    return run


def _log_settings(client: "MlflowClient", run_id: str, settings: Mapping[str, Any]) -> None:
    """As parameters, as many in a call as a server takes: one by one, each would wait for its answer."""
    from mlflow.entities import Param

    params = [Param(key, str(value)) for key, value in flatten(settings).items()]
    for first in range(0, len(params), _PARAMS_A_CALL):
        client.log_batch(run_id, params=params[first : first + _PARAMS_A_CALL])


def _git_tags(checkout: Path) -> dict[str, str]:
    def git(*words: str) -> str:
        try:
            done = subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # no git on this machine
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    revision = git("rev-parse", "HEAD")
    if not revision:
        return {}
    return {"mlflow.source.git.commit": revision, "git.dirty": str(bool(git("status", "--porcelain", "-uno"))).lower()}
