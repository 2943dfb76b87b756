"""The learning rate over the epochs: a linear warm-up, then constant, in steps or along a cosine.

Milestones and a warm-up from another share are those of torch.optim.lr_scheduler.MultiStepLR and LinearLR.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import get_args

from pipeline.config.schema import LearningRateSchedule

SCHEDULES = get_args(LearningRateSchedule)


def learning_rate_at(
    epoch: int,
    *,
    start: float,
    warmup_epochs: int,
    schedule: str,
    epochs: int,
    step_epochs: int = 20,
    milestones: Sequence[int] = (),
    warmup_start: float = 0.1,
) -> float:
    """The learning rate of `epoch` (from 0).

    The first `warmup_epochs` epochs rise linearly from `warmup_start` times `start` to `start`. Afterwards `constant`
    stays, `step` takes a tenth every `step_epochs` epochs (counted from epoch 0), `milestones` takes a tenth from each
    of these epochs on (rising), and `cosine` falls along half a cosine that would reach 0 at epoch `epochs`.

    Raises:
        ValueError: unknown `schedule`.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if epoch < warmup_epochs:
        return start * (warmup_start + (1 - warmup_start) * epoch / warmup_epochs)
    if schedule == "step":
        return start * 0.1 ** (epoch // step_epochs)
    if schedule == "milestones":
        return start * 0.1 ** bisect_right(milestones, epoch)
    if schedule == "cosine":
        return start * (1 + math.cos(math.pi * (epoch - warmup_epochs) / (epochs - warmup_epochs))) / 2
    return start
