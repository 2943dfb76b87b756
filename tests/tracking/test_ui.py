"""MLflow's pages as `make ui` opens them, in a browser."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.tracking import start_run
from tests.browser import Browser

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_the_address_that_is_printed_lists_the_runs(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    start_run(tmp_path, name="toy seed 7", settings={"seed": 7}, tags={}).end("FINISHED")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        Browser() as browser,
        subprocess.Popen(
            [sys.executable, "-m", "stages.ui", "--port", str(port)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as server,
    ):
        try:
            assert server.stdout is not None
            address = re.fullmatch(r"compare the runs at (http://127\.0\.0\.1:\d+/#\S+)\n", server.stdout.readline())
            assert address is not None
            wait_until_it_answers(port)
            tab = browser.visit(address[1])
            tab.wait_for("document.body.innerText.includes('toy seed 7')")
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def wait_until_it_answers(port: int, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody listens at {port}")
