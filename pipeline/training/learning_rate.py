"""The learning rate over the epochs: a linear warm-up, then constant, in steps or along a cosine."""

import math
from typing import get_args

from pipeline.config.schema import LearningRateSchedule

SCHEDULES = get_args(LearningRateSchedule)
WARMUP_START = 0.1


def learning_rate_at(
    epoch: int, *, start: float, warmup_epochs: int, schedule: str, epochs: int, step_epochs: int = 20
) -> float:
    """The learning rate of `epoch` (from 0).

    The first `warmup_epochs` epochs rise linearly from 0.1 `start` to `start`. Afterwards `constant` stays, `step`
    takes a tenth every `step_epochs` epochs (counted from epoch 0), and `cosine` falls along half a cosine that would
    reach 0 at epoch `epochs`.

    Raises:
        ValueError: unknown `schedule`.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if epoch < warmup_epochs:
        return start * (WARMUP_START + (1 - WARMUP_START) * epoch / warmup_epochs)
    if schedule == "step":
        return start * 0.1 ** (epoch // step_epochs)
    if schedule == "cosine":
        return start * (1 + math.cos(math.pi * (epoch - warmup_epochs) / (epochs - warmup_epochs))) / 2
    return start
