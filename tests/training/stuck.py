"""A training of two processes of which one hears no signal, as in a transfer of nccl, and the other fails."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, pathlib, signal, sys, time

from pipeline.common.errors import UserError
from pipeline.training import distributed

with distributed.told_to_launcher(), distributed.join() as processes:
    sys.stdout.write(f"on {processes.device}\\n")  # at once: both write into one pipe
    sys.stdout.flush()
    if processes.rank == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        processes.any(False)
        time.sleep(600)
    processes.any(False)
    pathlib.Path("failed").touch()
    if WAY == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise UserError("no cluster")
"""
MESSAGES = {"raise": "error: no cluster", "kill": "error: a training process was ended by SIGKILL (out of memory?)"}


def run_stuck(folder: Path, way: str, environment: Mapping[str, str]) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs it in `folder`; seconds from the failure, by "raise" or "kill", to the end of all."""
    (folder / "stuck.py").write_text(SCRIPT.replace("WAY", repr(way)))
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1", **environment}
    code = "from pipeline.training.distributed import launch; raise SystemExit(launch('stuck', processes=2))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    return done, time.time() - (folder / "failed").stat().st_mtime
