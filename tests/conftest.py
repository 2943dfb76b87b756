"""What all tests share."""

import os
import warnings
from pathlib import Path

import pytest

# Two test processes, or a training beside the tests, must not wait for each other's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test that imports mlflow before pipeline.tracking does must not report to anybody either.
for _name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_name, "true")


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a run. Making one takes seconds, so copy it (to `mlflow.db`) and leave it as it is."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
