"""Processes that cannot hear a signal, as in a transfer of nccl, end soon after another has failed."""

from pathlib import Path

import pytest

from tests.training.stuck import MESSAGES, run_stuck

# SIGTERM is followed by SIGKILL after 30 s; watching takes at most half of a second and two of grace.
SECONDS = 15


@pytest.mark.parametrize("way", ["raise", "kill"])
def test_process_that_hears_no_signal_ends_soon_after_another_has_failed(tmp_path: Path, way: str) -> None:
    done, seconds = run_stuck(tmp_path, way, {"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 1 and done.stderr.splitlines() == [MESSAGES[way]], done.stderr
    assert seconds < SECONDS
    assert "on cpu" in done.stdout
