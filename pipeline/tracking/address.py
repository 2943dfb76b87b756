"""Where runs are recorded: what MLFLOW_TRACKING_URI names, or the database of the user's checkout.

A relative place means the user's checkout, also where the stages run in a copy of it (`dvc exp run --temp`).
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pipeline.common.credentials import masked
from pipeline.common.errors import UserError

VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
# Addresses that no server of MLflow's answers: clients write the artifacts themselves.
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?):///([^?]*)(\?.*)?")


@dataclass(frozen=True)
class Address:
    """A tracking server, or a database in its place.

    Attributes:
        uri: for MLflow.
        file: of an SQLite database, None for any other.
        artifacts: where new experiments keep their files; None leaves it to the server.
    """

    uri: str
    file: Path | None = None
    artifacts: str | None = None


def tracking_address(checkout: Path) -> Address:
    """The address that the environment names, else that of the database in `checkout`.

    Raises:
        UserError: MLFLOW_TRACKING_URI is no address.
    """
    given = os.environ.get(VARIABLE, "").strip()
    artifacts = (checkout / "mlruns").resolve().as_uri()
    if not given:
        return Address(sqlite_uri(checkout / DATABASE), checkout / DATABASE, artifacts)
    if (sqlite := _SQLITE.fullmatch(given)) is not None:
        scheme, place, settings = sqlite.groups()
        if place in ("", ":memory:") or place.startswith("file:"):
            return Address(given, None, artifacts)
        file = checkout / unquote(place)
        return Address(sqlite_uri(file, scheme) + (settings or ""), file, artifacts)
    if "://" in given or given.startswith(("databricks", "uc:", "file:/")):
        scheme = re.split(r"[:+]", given, maxsplit=1)[0]
        return Address(given, None, artifacts if scheme in _DATABASES else None)
    place = unquote(given.removeprefix("file:"))
    if given.startswith(("file:", ".", "/")) or (checkout / place).is_dir():
        return Address((checkout / place).resolve().as_uri())
    raise UserError(
        f"{VARIABLE} is {masked(given)!r}, which is no address: a server begins with http:// or https://, a database"
        f" with sqlite:/// (sqlite:///{DATABASE}) or postgresql+psycopg2://, a folder with ./"
    )


def sqlite_uri(file: Path, scheme: str = "sqlite") -> str:
    """The address of an SQLite database, whatever the characters of its path; a relative one is made absolute."""
    # What SQLAlchemy reads in an address: the escapes, and where its settings begin.
    path = str(file.absolute()).replace("%", "%25").replace("?", "%3F")
    return f"{scheme}:///{path}"


def literal_folder(address: Address) -> Path | None:
    """The folder that MLflow makes beside the database's own, as it reads the escapes of an address literally."""
    if address.file is None or (folder := Path(address.uri.partition(":///")[2]).parent) == address.file.parent:
        return None
    return folder
