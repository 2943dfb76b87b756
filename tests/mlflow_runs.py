"""What MLflow has recorded, read through its client."""

import warnings
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from pipeline.tracking.address import sqlite_uri


def client_of(folder: Path) -> MlflowClient:
    """A client of the database of a checkout."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own tables, when they are first imported
        return MlflowClient(sqlite_uri(folder / "mlflow.db"))


def runs_of(folder: Path, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """The runs of all experiments, the oldest first."""
    client = client_of(folder)
    experiments = [each.experiment_id for each in client.search_experiments(ViewType.ALL)]
    return list(client.search_runs(experiments, run_view_type=view, order_by=["attributes.start_time ASC"]))


def run_of(folder: Path) -> Run:
    """The only run."""
    (run,) = runs_of(folder)
    return run


def points_of(folder: Path, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Name of a metric -> its (step, value), in the order in which they were added."""
    client = client_of(folder)
    names = sorted(client.get_run(run_id).data.metrics)
    return {name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)] for name in names}
