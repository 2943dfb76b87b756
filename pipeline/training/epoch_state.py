"""What an epoch keeps from step to step, beside networks and optimizer.

N: training images · B: global batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch

from pipeline.methods import Method
from pipeline.methods.method import EpochStart


@dataclass
class EpochState:
    """The place in an epoch.

    Attributes:
        start: what the method began it with; its memory moves on.
        batches: (iters, B) rows of the images of each step.
        seconds: of each part of the epoch so far.
        steps_done: of this epoch.
        total: (3,) sums over the steps of the total loss, L_c and L_ss.
    """

    start: EpochStart
    batches: np.ndarray
    seconds: dict[str, float]
    steps_done: int = 0
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "labels": torch.from_numpy(self.start.labels),
            "memory": self.start.memory.state_dict(),
            "stats": self.start.stats,
            "batches": torch.from_numpy(self.batches),
            "seconds": self.seconds,
            "steps_done": self.steps_done,
            "total": self.total,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], method: Method, *, device: torch.device) -> Self:
        """What `state_dict` described, with the memory on `device`."""
        start = method.restored(state["labels"].numpy(), state["memory"], state["stats"], device=device)
        seconds, total = dict(state["seconds"]), state["total"].clone()
        return cls(start, state["batches"].numpy(), seconds, int(state["steps_done"]), total)
