"""On what a training ran, for those who read its results later."""

import platform
from pathlib import Path

import torch

from pipeline.training.distributed.processes import Processes

_CPU_INFO = Path("/proc/cpuinfo")


def describe_machine(processes: Processes) -> str:
    """`NVIDIA H100, 4 processes, 8 threads each`: the name of the first process's device, and what computed there."""
    device, size, threads = processes.device, processes.size, torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    several = f"{size} processes" if size > 1 else "1 process"
    return f"{name}, {several}, {threads} thread{'s' * (threads > 1)}{' each' * (size > 1)}"


def _processor() -> str:
    """The model of the CPU, or its architecture where the system does not name the model."""
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()
