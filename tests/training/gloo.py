"""A function run by several processes that are joined by gloo, as torchrun would join them on a machine without GPU."""

import os
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as multiprocessing

from pipeline.training.distributed import Processes


def in_processes(function: Any, size: int, folder: Path, *arguments: Any) -> list[Any]:
    """What `function(processes, *arguments)` returns in each of `size` gloo processes."""
    # Processes that start from one that has the imports already: seconds less for each.
    multiprocessing.set_forkserver_preload([function.__module__])
    multiprocessing.start_processes(  # type: ignore[attr-defined]
        _process, args=(size, folder, function, arguments), nprocs=size, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _process(rank: int, size: int, folder: Path, function: Any, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        found = function(Processes(rank=rank, size=size), *arguments)
        torch.save(found, folder / f"{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()
