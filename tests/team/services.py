"""The servers of a team, on this machine: each runs as long as its block, and ends with the process that started it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

PROGRAMS = Path(sys.executable).parent
SECONDS = 120  # for a server to answer: 3 to 10 where nothing else runs


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(
    command: list[str],
    *,
    answers: Callable[[], bool],
    log: Path,
    stop: signal.Signals = signal.SIGTERM,
    prefix: tuple[str, ...] = (),
    **environment: str,
) -> Iterator[None]:
    """A server, from its first answer to the end of the block.

    Args:
        command: of the server, in the foreground.
        answers: whether it can be used.
        log: what it says.
        stop: what ends it.
        prefix: options of setpriv, for instance another user.
        environment: added to the present one.
    """
    with log.open("w") as told:
        # setpriv: the server gets `stop` as well when the tests are killed.
        server = subprocess.Popen(
            ["setpriv", *prefix, "--pdeathsig", stop.name.removeprefix("SIG"), "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            cwd=log.parent,
            start_new_session=True,
            env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", **environment},
        )
    try:
        end = time.monotonic() + SECONDS
        while not answers():
            assert server.poll() is None and time.monotonic() < end, f"{command} does not start:\n{log.read_text()}"
            time.sleep(0.1)
        yield
    finally:
        server.send_signal(stop)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _page_is_there(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@dataclass(frozen=True)
class Store:
    """An S3-compatible object store.

    Attributes:
        address: of its endpoint.
        login: environment variables with the credentials.
    """

    address: str
    login: Mapping[str, str]

    def make_bucket(self, name: str) -> None:
        requests.put(f"{self.address}/{name}", timeout=30).raise_for_status()

    def objects(self, bucket: str) -> str:
        """The XML list of what a bucket holds."""
        return requests.get(f"{self.address}/{bucket}", timeout=30).text


@contextmanager
def object_store(folder: Path) -> Iterator[Store]:
    """moto's stand-in for S3. It speaks the protocol over HTTP and forgets everything at its end."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, answers=lambda: _listens(port), log=folder / "store.log"):
        login = {"AWS_ACCESS_KEY_ID": "anna", "AWS_SECRET_ACCESS_KEY": "not-for-git", "AWS_DEFAULT_REGION": "us-east-1"}
        yield Store(f"http://127.0.0.1:{port}", login)


def _postgres_programs() -> Path:
    """The folder with Debian's postgres and initdb, which are not on PATH; skips where there are none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")


@contextmanager
def postgres(log: Path) -> Iterator[str]:
    """A PostgreSQL cluster of its own with the empty database `mlflow`; its address for SQLAlchemy."""
    programs, port = _postgres_programs(), free_port()
    user: tuple[str, ...] = ()
    # Not below pytest's folder, where nobody but its owner may look: postgres refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="reid-postgres-"))
    try:
        if os.geteuid() == 0:
            found = {entry.pw_name: entry for entry in pwd.getpwall()}
            owner = found.get("postgres") or found["nobody"]
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            user = (f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--reset-env")
        data = folder / "data"
        make = [f"{programs}/initdb", "-D", str(data), "-U", "mlflow", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        made = subprocess.run(
            ["setpriv", *user, "--", *make] if user else make, cwd="/", capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr
        server = [
            f"{programs}/postgres",
            "-D",
            str(data),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            str(folder),
            "-c",
            "fsync=off",
        ]
        ready = [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]  # it listens before it is

        def answers() -> bool:
            return subprocess.run(ready, cwd="/", check=False).returncode == 0

        with running(server, answers=answers, log=log, stop=signal.SIGINT, prefix=user):
            make = ["createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"]
            subprocess.run([f"{programs}/{make[0]}", *make[1:]], check=True, cwd="/")
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow"
    finally:
        shutil.rmtree(folder)


@contextmanager
def mlflow_server(command: list[str], folder: Path, port: int, **environment: str) -> Iterator[None]:
    """`mlflow server` as given, with no more processes than a test needs."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", **environment}
    page = f"http://127.0.0.1:{port}/health"
    with running(
        [*command, "--workers", "1"], answers=lambda: _page_is_there(page), log=folder / "mlflow.log", **quiet
    ):
        yield
