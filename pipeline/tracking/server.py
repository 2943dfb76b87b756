"""The tracking server that runs are written to, or the database of the checkout in its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.common.errors import UserError
from pipeline.common.locks import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Not for a person who runs an experiment to find out: nothing is sent anywhere. A value that is set already stands.
for _name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_name, "true")

EXPERIMENT = "dccc"


def open_client(checkout: Path) -> "MlflowClient":
    """The tracking server, or the database of the checkout, which is made where there is none."""
    import logging

    for chatty in ("alembic", "mlflow.store.db.utils"):  # the database's first creation, step by step
        logging.getLogger(chatty).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    given = os.environ.get("MLFLOW_TRACKING_URI")
    uri = given or f"sqlite:///{checkout / 'mlflow.db'}"
    # Two processes that create the same database would fail: one waits.
    with answering(uri), nullcontext() if given else locked(checkout / "mlflow.db.lock"):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def answering(uri: str, fault: str = "does not answer") -> Iterator[None]:
    """Turns the many errors of a tracking server or database that is gone, or refuses, into one line.

    Args:
        uri: of the server.
        fault: what to say of it.

    Raises:
        UserError: see above.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (MlflowException, DBAPIError, RequestException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"MLflow at {uri} {fault}: {reason} (MLFLOW_TRACKING_URI)") from error


def find_experiment(client: "MlflowClient", checkout: Path) -> str:
    """Id of the experiment that all runs belong to, which is made where there is none."""
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise UserError(
                f"the MLflow experiment {name} was deleted: restore it, or name another one (MLFLOW_EXPERIMENT_NAME)"
            )
        return str(found.experiment_id)
    # The default place is relative to the current folder, which is another one under `dvc exp run --temp`.
    place = None if os.environ.get("MLFLOW_TRACKING_URI") else (checkout / "mlruns").as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)  # another process was faster


def exists(client: "MlflowClient", run_id: str) -> bool:
    """Whether the server has the run, and nobody has deleted it."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
