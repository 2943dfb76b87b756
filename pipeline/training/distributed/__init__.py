"""One result on any number of processes; the only import of torch.distributed."""

from pipeline.training.distributed.joining import join, launched
from pipeline.training.distributed.launching import (
    LISTENING,
    chosen_processes,
    default_processes,
    launch,
    told_to_launcher,
)
from pipeline.training.distributed.processes import Processes
from pipeline.training.distributed.searching import in_first

__all__ = [
    "LISTENING",
    "Processes",
    "chosen_processes",
    "default_processes",
    "in_first",
    "join",
    "launch",
    "launched",
    "told_to_launcher",
]
