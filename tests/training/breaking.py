"""Processes that do nothing but meet, until one of them breaks: `python -m tests.training.breaking`.

A training without its seconds of imports. BREAK_BY and BREAK_RANK say how and which; BROKE_AT is the file that keeps
the time.
"""

import os
import signal
import time
from pathlib import Path

import torch
import typer

import stages
from pipeline.common.errors import UserError
from pipeline.training import distributed


def main() -> None:
    """Started by hand, starts two of itself by torchrun; started by torchrun, is one."""
    if not distributed.launched():
        raise typer.Exit(distributed.launch("tests.training.breaking", processes=2))
    with distributed.told_to_launcher(), distributed.join() as processes:
        for step in range(100):
            processes.sum_([torch.ones(3)])
            if step == 2 and processes.rank == int(os.environ["BREAK_RANK"]):
                break_()
            processes.from_first("clusters")


def break_() -> None:
    Path(os.environ["BROKE_AT"]).write_text(str(time.time()))
    match os.environ["BREAK_BY"]:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "mistake":
            raise UserError("no cluster was found")
        case _:
            raise RuntimeError("broken on purpose")


if __name__ == "__main__":
    stages.run(main)
