"""A machine whose own name nobody can resolve (a laptop off-line, a container) trains all the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEETING = """
import sys

import torch.distributed as dist

from pipeline.training.distributed import join
from pipeline.training.distributed.joining import PATIENCE

with join() as processes:
    if processes.size > 1:  # the five minutes of the meeting would be too short for whoever records its run slowly
        assert dist.distributed_c10d._get_default_store().timeout == PATIENCE
    sys.stdout.write(f"{processes.rank} of {processes.size}\\n")  # one write: both print at once
"""
LAUNCH = "from pipeline.training.distributed import launch; raise SystemExit(launch('meeting', processes={}))"


@pytest.fixture(scope="module")
def renamed() -> list[str]:
    """What runs a command, and whatever it starts, on a machine of such a name."""
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--uts",
        "sh",
        "-c",
        'hostname nowhere.invalid && exec "$@"',
        "sh",
    ]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("a process here may not give its machine another name")
    return command


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_meet_on_a_host_whose_name_cannot_be_resolved(
    renamed: list[str], tmp_path: Path, processes: int
) -> None:
    (tmp_path / "meeting.py").write_text(MEETING)
    command = [*renamed, sys.executable, "-c", LAUNCH.format(processes)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"{rank} of {processes}" for rank in range(processes)]
    assert done.stderr == ""
