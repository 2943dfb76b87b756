"""Processes that end with the one that started them: workers of pools, and stages that DVC started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.conftest import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
time.sleep(600)
"""
BOUND = """
import os, time
from pipeline.common.parent_process import end_with_parent
end_with_parent(os.getppid())
print("bound", flush=True)
time.sleep(600)
"""
LATE = """
from pipeline.common.parent_process import end_with_parent
end_with_parent(1)  # which is not, or no longer, the parent
print("still here")
"""


def is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(processes: list[int], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while any(map(is_there, processes)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(is_there, processes))


def test_process_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, BOUND],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child, word = parent.stdout.readline().split()
    assert word == "bound" and is_there(int(child))
    parent.kill()
    parent.communicate()
    assert gone([int(child)])


def test_process_whose_parent_has_gone_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGTERM and done.stdout == ""
