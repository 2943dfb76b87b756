"""One MLflow run per training, to which all stages write.

The training starts the run and leaves its id beside the model; `evaluate` and `report` add to it. A stage that DVC
restores from its cache logs nothing: its run is there already, under the id that comes back with the model.

Every number has one name: `epoch/<column>` for the columns of training.csv, with the epochs as steps, and the headings
of the report (`mAP`, `Rank-1`, ...) for the final scores.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json
from pipeline.common.flatten import flatten
from pipeline.evaluation.metrics import heading_of
from pipeline.tracking.children import study_tags
from pipeline.tracking.provenance import provenance
from pipeline.tracking.server import EXPERIMENT, answering, exists, find_experiment, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["EXPERIMENT", "NoRun", "Run", "open_run", "start_run", "tracked"]

CURVE = "epoch/"  # before the name of a number that has a value per epoch
ATTEMPT = "training.attempt"  # tag: finds a run again whose id did not reach the disk
_PARAMS_PER_CALL = 100


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
        """Adds a point per column to the curves, unless the run has this epoch (they count from 1) already.

        A training that goes on after an interruption names every epoch again, so that none is missing.
        """
        values = {f"{CURVE}{column}": value for column, value in row.items() if column != "epoch"}
        if self._epochs is None:
            first = next(name for name, value in values.items() if _finite(value))
            with self.answering():
                self._epochs = {point.step for point in self._client.get_metric_history(self.id, first)}
        epoch = int(row["epoch"])
        if epoch not in self._epochs:
            self.log_metrics(values, step=epoch)
            self._epochs.add(epoch)

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Adds a point to each of the curves, in one call. Values that are not finite are left out."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        points = [Metric(key, float(value), now, step) for key, value in values.items() if _finite(value)]
        with self.answering():
            self._client.log_batch(self.id, metrics=points)

    def log_scores(self, summary: Mapping[str, float], *, step: int = 0) -> None:
        """Adds final scores under the headings of the report; those that the run has already are not added again.

        Args:
            summary: as reports/summary.json holds them.
            step: the last epoch.
        """
        with self.answering():
            known = self._client.get_run(self.id).data.metrics
        named = {heading_of(key): float(value) for key, value in summary.items()}
        self.log_metrics({name: value for name, value in named.items() if known.get(name) != value}, step=step)

    def tag(self, name: str, text: str) -> None:
        """Writes a tag, or writes it anew."""
        with self.answering():
            self._client.set_tag(self.id, name, text)

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
    checkout: Path,
    *,
    name: str,
    settings: Mapping[str, Any],
    tags: Mapping[str, str | None],
    resume: Path,
    shown: bool,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator["Run | NoRun"]:
    """A run for as long as the block lasts: FINISHED when it ends, KILLED when it is interrupted, else FAILED.

    Args:
        checkout, name, settings, tags: see `start_run`.
        resume: file that keeps the id of the run, so that an interrupted training goes on in the same one.
        shown: False in all processes but the first: nothing is recorded, and MLflow is not even imported.
        interrupted: whether a signal has arrived. An error after it is its consequence: code of others, as numba's
            compiler, may turn the exception of a signal into one of its own.

    Raises:
        KeyboardInterrupt: in place of such an error.
    """
    if not shown:
        yield NoRun()
        return
    run = _started(checkout, name=name, settings=settings, tags=tags, resume=resume)
    try:
        yield run
    except BaseException as error:
        killed = interrupted() or isinstance(error, (KeyboardInterrupt, SystemExit))
        with suppress(UserError):  # where MLflow is gone too, the first reason is the one to tell
            run.end("KILLED" if killed else "FAILED")
        if killed and isinstance(error, Exception):
            raise KeyboardInterrupt from error
        raise
    run.end()


class NoRun:
    """Takes what a `Run` takes, and records nothing."""

    id = ""

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Does nothing."""


def _started(
    checkout: Path, *, name: str, settings: Mapping[str, Any], tags: Mapping[str, str | None], resume: Path
) -> Run:
    """Starts the run of a training, or goes on with the one that the file `resume` knows.

    The file names the attempt before there is a run, and the run carries its name: a signal, or the end of the process,
    between the two leaves no run that is never found again.
    """
    known = read_json(resume) if resume.is_file() else {}
    known.setdefault("attempt", uuid.uuid4().hex)
    write_json(resume, known)
    try:
        run = start_run(
            checkout,
            name=name,
            settings=settings,
            tags={**tags, ATTEMPT: known["attempt"]},
            resume=known.get("run_id"),
            attempt=known["attempt"],
        )
    except KeyboardInterrupt:
        with suppress(UserError):
            _end_attempt(checkout, known["attempt"])
        raise
    write_json(resume, {**known, "run_id": run.id})
    return run


def start_run(
    checkout: Path,
    *,
    name: str,
    settings: Mapping[str, Any],
    tags: Mapping[str, str | None],
    resume: str | None = None,
    attempt: str | None = None,
) -> Run:
    """Starts a run, or goes on with the run `resume`, or with that of the tag `attempt`, if the server knows it.

    Args:
        checkout: holds mlflow.db and mlruns/ unless MLFLOW_TRACKING_URI names a server.
        name: what users find it by; DVC's name of the experiment follows, where there is one.
        settings: nested; logged as parameters `section.key`, but those that are None.
        tags: for instance the digest of the data; those that are None are left out.
        resume: id of an earlier run.
        attempt: value of the tag `ATTEMPT` of an earlier run.
    """
    client = open_client(checkout)
    with answering(client.tracking_uri, "takes no run"):
        if resume is not None and exists(client, resume):
            client.update_run(resume, status="RUNNING")
            return Run(client, resume)
        experiment = find_experiment(client, checkout)
        if attempt is not None and (known := _of_attempt(client, experiment, attempt)) is not None:
            client.update_run(known, status="RUNNING")
            _log_settings(client, known, settings)
            return Run(client, known)
        title = os.environ.get("DVC_EXP_NAME")
        name = f"{name} ({title})" if title else name
        all_tags = {**provenance(), **tags, **study_tags(title)}
        known_tags = {key: value for key, value in all_tags.items() if value is not None}
        run_id = client.create_run(experiment, run_name=name, tags=known_tags).info.run_id
        _log_settings(client, run_id, settings)
        return Run(client, run_id)


def open_run(checkout: Path, run_id: str, *, name: str, settings: Mapping[str, Any]) -> Run:
    """The run of a training that has ended; if the tracking server does not know it, one new run for all stages."""
    client = open_client(checkout)
    with answering(client.tracking_uri, "takes no run"):
        if exists(client, run_id):
            return Run(client, run_id)
        experiment = find_experiment(client, checkout)
        for instead in client.search_runs([experiment], f"tags.missing_run = '{run_id}'", max_results=1):
            if instead.info.status == "RUNNING":  # the stage that made it was stopped before it could end it
                client.set_terminated(instead.info.run_id)
            return Run(client, instead.info.run_id)  # another stage has been here
    run = start_run(checkout, name=name, settings=settings, tags={"missing_run": run_id})
    run.end()
    return run


def _end_attempt(checkout: Path, attempt: str) -> None:
    """Ends the run of an attempt that was interrupted while its run was being made, if it came so far."""
    client = open_client(checkout)
    with answering(client.tracking_uri):
        if (made := _of_attempt(client, find_experiment(client, checkout), attempt)) is not None:
            client.set_terminated(made, "KILLED")


def _of_attempt(client: "MlflowClient", experiment: str, attempt: str) -> str | None:
    """Id of the run that carries the tag."""
    found = client.search_runs([experiment], f"tags.`{ATTEMPT}` = '{attempt}'", max_results=1)
    return found[0].info.run_id if found else None


def _log_settings(client: "MlflowClient", run_id: str, settings: Mapping[str, Any]) -> None:
    """As parameters, as many in a call as a server takes: one by one, each would wait for its answer."""
    from mlflow.entities import Param

    params = [Param(key, str(value)) for key, value in flatten(settings).items() if value is not None]
    for first in range(0, len(params), _PARAMS_PER_CALL):
        client.log_batch(run_id, params=params[first : first + _PARAMS_PER_CALL])


def _finite(value: float) -> bool:
    return abs(float(value)) < float("inf")
