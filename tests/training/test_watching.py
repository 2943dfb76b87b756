"""Processes that cannot hear a signal, as in a transfer of nccl, end soon after another has failed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUCK = """
import os, pathlib, signal, sys, time



from pipeline.common.errors import UserError
from pipeline.training import distributed

with distributed.told_to_launcher(), distributed.join() as processes:
    if processes.rank == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        processes.any(False)
        time.sleep(600)
    processes.any(False)
    pathlib.Path("failed").touch()
    if sys.argv[1:] == ["kill"]:
        os.kill(os.getpid(), signal.SIGKILL)
    raise UserError("no cluster")
"""
# SIGTERM is followed by SIGKILL after 30 s; watching takes at most half of a second and two of grace.
SECONDS = 15


@pytest.mark.parametrize("way", ["raise", "kill"])
def test_process_that_hears_no_signal_ends_soon_after_another_has_failed(tmp_path: Path, way: str) -> None:
    (tmp_path / "stuck.py").write_text(STUCK.replace("sys.argv[1:] == ", f"[{way!r}] == "))
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    code = "from pipeline.training.distributed import launch; raise SystemExit(launch('stuck', processes=2))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert time.time() - (tmp_path / "failed").stat().st_mtime < SECONDS
    message = {"raise": "error: no cluster", "kill": "error: a training process was ended by SIGKILL (out of memory?)"}
    assert done.returncode == 1 and done.stderr.splitlines() == [message[way]], done.stderr
