"""What one step of the Market-1501 recipe asks a GPU for, on the stub: counts and the peak of memory, as JSON.

python -m tests.cuda.count_step bf16 dynamic        # or dynamic+proxies; with the environment of the fixture `stub`
"""

import copy
import json
import sys
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.common.ending import one_line_errors
from pipeline.common.seeding import seed_everything
from pipeline.config.load import read_settings
from pipeline.contrast import CameraProxies, ClusterMemory
from pipeline.methods import METHODS
from pipeline.methods.method import EpochStart
from pipeline.model import build
from pipeline.training.distributed import Processes
from pipeline.training.epoch_state import EpochState
from pipeline.training.failures import explained
from pipeline.training.passes import Passes
from pipeline.training.trainer import Trainer
from tests.cuda.on_stub import Counts, counts, replace_convolutions
from tests.training.small import change

GPU = torch.device("cuda", 0)
STEPS, IMAGES, CLUSTERS, CAMERAS = 5, 700, 600, 8
GROUPS = 4


class InPasses:
    """Counts the launches within the passes of the networks, which CUDA graphs replay."""

    def __init__(self) -> None:
        self.launches = 0
        for name in ("forward", "backward"):
            setattr(Passes, name, self._counted(getattr(Passes, name)))

    def _counted(self, method: Any) -> Any:
        @wraps(method)
        def counted(*arguments: Any) -> Any:
            before = counts()
            result = method(*arguments)
            self.launches += (counts() - before).launches
            return result

        return counted


def main(precision: str, update: str) -> None:
    settings = read_settings(Path("params.yaml"), methods=METHODS).of_training(precision="fp32")
    update, _, proxies = update.partition("+")
    method = "cluster_contrast" if update == "instance" else "dccc"
    settings = change(
        settings,
        method=method,
        train__precision=precision,
        memory__update=update,
        sampler__batch=256,
        sampler__instances=16,
        loss__proxies=0.5 if proxies else 0.0,
        loss__proxies_after=0,
        model__bn_group=256 // GROUPS,
    )
    seed_everything(1)
    student = build("resnet50", bn_group=64).to(GPU)
    trainer = Trainer(
        student,
        copy.deepcopy(student) if settings.has_teacher else None,
        images=np.zeros((IMAGES, 256, 128, 3), np.uint8),
        cameras=np.zeros(IMAGES, np.int64),
        settings=settings,
        processes=Processes(device=GPU),
        recorded=False,  # the stub cannot record
        shown=False,
    )
    memory = ClusterMemory(torch.ones(CLUSTERS, 2048, device=GPU), momentum=0.1, update=update, tau=0.03)
    # Sixteen images of each of sixteen clusters, as the sampler draws them.
    targets = np.arange(IMAGES) % 16
    batches = np.tile(np.arange(256), (STEPS, 1))
    start, total = EpochStart(targets, targets, memory), torch.zeros(3, dtype=torch.float64)
    if proxies:
        cameras = np.arange(IMAGES) // 16 % CAMERAS
        rows = torch.ones(16 * CAMERAS, 2048, device=GPU)
        start, total = (
            replace(start, proxies=CameraProxies(rows, targets, cameras)),
            torch.zeros(4, dtype=torch.float64),
        )
    trainer._state = EpochState(start, batches, {"train": 0.0}, total=total)
    found: list[Counts] = []
    passes: list[int] = []
    in_passes = InPasses()

    def note() -> None:
        found.append(counts())
        passes.append(in_passes.launches)

    trainer.epoch(note)
    step = found[-1] - found[-2]
    # Recorded, a pass of a group is its images or gradients copied and one graph: forward twice, backward once.
    recorded = step.launches - (passes[-1] - passes[-2]) + GROUPS * 3 * 2
    peak = torch.cuda.max_memory_allocated() / 2**30
    print(json.dumps({**vars(step), "launches_recorded": recorded, "peak_gib": peak}))


if __name__ == "__main__":
    replace_convolutions()
    with one_line_errors(), explained():
        main(*sys.argv[1:])
