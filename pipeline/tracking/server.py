"""The tracking server that runs are written to, or the database of the checkout in its place."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.common.credentials import masked
from pipeline.common.errors import UserError
from pipeline.common.kept_signals import kept_signals
from pipeline.common.locks import locked
from pipeline.tracking.address import VARIABLE, Address, literal_folder, tracking_address

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Users who run an experiment have not agreed to telemetry: nothing is sent anywhere. A value that is set stands.
for _name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_name, "true")

EXPERIMENT = "dccc"
BACKEND = "MLFLOW_BACKEND_STORE_URI"  # where `mlflow ui` reads from; in the environment, as it may hold a password
# What MLflow says -> what it means and what to do.
_REASONS = (
    (r"readonly database", "the database is read-only: allow writing to the file and to its folder"),
    (r"unable to open database file", "the file cannot be opened: check that its folder exists and may be written"),
    (r"database or disk is full|disk I/O error", "there is no room left for the database, or its disk fails"),
    (r"database is locked", "another program holds the database: close it, or wait until it has finished"),
)


def open_client(checkout: Path) -> "MlflowClient":
    """The tracking server, or the database of the checkout, which is made where there is none.

    Raises:
        UserError: it does not answer, or MLFLOW_TRACKING_URI is no address.
    """
    for chatty in ("alembic", "mlflow.store.db.utils"):  # the database's first creation, step by step
        logging.getLogger(chatty).setLevel(logging.WARNING)
    address = tracking_address(checkout)
    with kept_signals():
        from mlflow import MlflowClient

    for handler in logging.getLogger("mlflow").handlers:
        handler.addFilter(_mask)
    file = address.file
    alone = nullcontext() if file is None else locked(file.with_name(f"{file.name}.lock"))
    kept = nullcontext() if file is None else kept_signals()  # a server may take minutes not to answer
    with answering(address.uri), alone, kept, _without_litter(address):
        try:
            client = MlflowClient(tracking_uri=address.uri)
            client.search_experiments(max_results=1)
        except (ImportError, ValueError) as error:  # a driver that is not installed, a port that is no number
            raise _unreachable(address.uri, "does not answer", error) from error
    return client


def _mask(record: logging.LogRecord) -> bool:
    """A filter of log records that leaves out passwords."""
    record.msg, record.args = masked(record.getMessage()), ()
    return True


@contextmanager
def _without_litter(address: Address) -> Iterator[None]:
    """Removes the folder that MLflow makes by mistake, see `literal_folder`, unless it was there."""
    folder = literal_folder(address)
    made = [] if folder is None else [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    finally:
        for each in made:
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()


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
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException) as error:
        raise _unreachable(uri, fault, error) from error


def _unreachable(uri: str, fault: str, error: Exception) -> UserError:
    text = str(error)
    reason = (text.splitlines() or [type(error).__name__])[0]
    if (versions := re.search(r"database schema \(found version (\w+), but expected (\w+)\)", text)) is not None:
        return UserError(_other_schema(uri, *versions.groups()))
    reason = next((meaning for pattern, meaning in _REASONS if re.search(pattern, text)), reason)
    return UserError(masked(f"MLflow at {uri} {fault}: {reason} ({VARIABLE})"))


def _other_schema(uri: str, found: str, expected: str) -> str:
    """What to do about a database of another version of MLflow."""
    import mlflow
    import mlflow.store.db_migrations

    migrations = Path(mlflow.store.db_migrations.__path__[0]) / "versions"
    if any(migrations.glob(f"{found}_*.py")):
        cure = f"it is older: copy it, then `mlflow db upgrade {uri}`"
    else:
        cure = f"it is newer: install that version of MLflow (here is {mlflow.__version__}), or name another database"
    return masked(
        f"MLflow at {uri}: the database has the schema {found}, this MLflow needs {expected}; {cure} ({VARIABLE})"
    )


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
    try:
        return str(client.create_experiment(name, artifact_location=tracking_address(checkout).artifacts))
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)  # another process was faster


def runs_page(checkout: Path, server: str) -> str:
    """The address of the page of `server` where the runs are listed and compared.

    MLflow opens an experiment as one of language models, whose page is empty here, unless the address says otherwise.
    """
    client = open_client(checkout)
    with answering(client.tracking_uri):
        experiment = find_experiment(client, checkout)
    return masked(f"{server.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning")


def exists(client: "MlflowClient", run_id: str) -> bool:
    """Whether the server has the run, and it has not been deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
