"""What an epoch keeps from step to step, beside networks and optimizer.

N: training images · B: global batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch

from pipeline.common.transfer import Arriving
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
        total: (3,) or, with camera proxies, (4,): sums over `settled` steps of the total loss, L_c, L_ss and that of
            the proxies.
        arriving: the losses of the last step, which are on their way.
        settled: steps whose losses have arrived.
    """

    start: EpochStart
    batches: np.ndarray
    seconds: dict[str, float]
    steps_done: int = 0
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    arriving: Arriving | None = None
    settled: int = 0

    def add(self, losses: Sequence[torch.Tensor]) -> None:
        """The losses of a step; they are read one step later, so that the device never waits for the next step."""
        self.settle()
        self.arriving = Arriving(torch.stack([loss.detach() for loss in losses]).double())

    def settle(self) -> None:
        """Waits for the last losses."""
        if self.arriving is not None:
            self.total += self.arriving.wait()
            self.arriving, self.settled = None, self.settled + 1

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values; the last losses must have been waited for."""
        assert self.arriving is None, "the losses of the last step are not in the sums"
        return {
            "labels": torch.from_numpy(self.start.labels),
            "memory": self.start.memory.state_dict(),
            "proxies": None if self.start.proxies is None else self.start.proxies.rows,
            "stats": self.start.stats,
            "batches": torch.from_numpy(self.batches),
            "seconds": self.seconds,
            "steps_done": self.steps_done,
            "total": self.total,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], method: Method, *, device: torch.device) -> Self:
        """What `state_dict` described, with the memory on `device`."""
        labels = state["labels"].numpy()
        start = method.restored(labels, state["memory"], state["stats"], device=device)
        start = replace(start, proxies=method.proxies(labels, state.get("proxies"), device=device))
        seconds, total = dict(state["seconds"]), state["total"].clone()
        done = int(state["steps_done"])
        return cls(start, state["batches"].numpy(), seconds, done, total, settled=done)
