"""The page's command, on a finished run: from a decision to the next run's links."""

import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

from pipeline.common.errors import UserError
from stages.browse import _socket
from tests.stages.conftest import ROOT


def test_decisions_of_the_page_become_links_of_the_next_run(copied: Any) -> None:
    for link in [path for path in (copied.folder / "data/raw").rglob("*") if path.is_symlink()]:
        images = link.resolve()  # shared with other tests
        link.unlink()
        shutil.copytree(images, link)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        assert "name another port with --port" in copied.refused("browse", "--port", str(port))
    assert "no port has this number" in copied.refused("browse", "--port", "99999")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DVC", "MLFLOW"))}
    with subprocess.Popen(
        [sys.executable, "-m", "stages.browse", "--port", str(port)],
        cwd=copied.folder,
        env={**environment, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as page:
        assert page.stdout is not None and page.stderr is not None
        try:
            address = re.fullmatch(r"open (http://127\.0\.0\.1:\d+/) .*\n", page.stdout.readline())
            assert address is not None
            assert page.stdout.readline().startswith("decisions go to ")
            token = requests.get(address[1], timeout=30).text.split('page-token" content="')[1].split('"')[0]
            found = requests.get(f"{address[1]}api/clusters?sort=number", timeout=30).json()["clusters"]
            numbers = [cluster["number"] for cluster in found[:2]]
            answer = requests.post(
                f"{address[1]}api/merge", json={"clusters": numbers}, headers={"x-page": token}, timeout=30
            )
            assert answer.status_code == 200, answer.text
        finally:
            page.send_signal(signal.SIGINT)
        assert page.wait(60) in (0, 130) and "Traceback" not in page.stderr.read()
    written = next(Path(copied.folder / "data/raw").rglob("corrections.csv"))
    (link,) = pd.read_csv(written).to_dict(orient="records")
    assert link["kind"] == "must_link" and link["action"].startswith("merge ")
    assert "links: the training images are " in copied.here("prepare")
    shutil.rmtree(copied.folder / "data/model")
    copied.here("train")
    copied.here("evaluate")
    clusters = pd.read_csv(copied.folder / "reports/clusters.csv").set_index("path")["cluster"]
    assert clusters[link["path_a"]] == clusters[link["path_b"]]


def test_answers_do_not_wait_for_the_receipt_of_their_heads() -> None:
    with _socket(0) as taken, socket.create_connection(taken.getsockname()), taken.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("port", [-1, 2**16, 99_999])
def test_port_that_there_is_not_is_one_line_and_leaves_no_socket(port: int) -> None:
    with pytest.raises(UserError, match="no port has this number"):
        _socket(port)
    gc.collect()  # tells of a socket that was left open, which fails this test rather than some other


def test_page_without_a_run_is_one_line(new_project: Any) -> None:
    assert "run the prepare stage first" in new_project().refused("browse")
