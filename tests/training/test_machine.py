"""What is told of the machine that trained; on a GPU: tests/training/test_on_a_gpu.py."""

from pathlib import Path

import pytest
import torch

from pipeline.training import machine
from pipeline.training.distributed import Processes
from pipeline.training.machine import describe_machine


def test_machine_is_its_processor_processes_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Fast CPU\nprocessor\t: 1\nmodel name\t: Fast CPU\n"
    )
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert describe_machine(Processes()) == "Fast CPU, 1 process, 2 threads"
    assert describe_machine(Processes(rank=0, size=4)) == "Fast CPU, 4 processes, 2 threads each"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "none")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert describe_machine(Processes()) == "x86_64, 1 process, 1 thread"
