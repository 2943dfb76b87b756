"""The eps of every epoch: DBSCAN's radius shrinks as the embeddings improve.

Source: DCCC (He et al., ICASSP 2024, arXiv 2303.06810), dynamic clustering parameters scheduling (DCPS).
"""

import math
from typing import get_args

from pipeline.config.schema import EpsSchedule

SCHEDULES: tuple[str, ...] = get_args(EpsSchedule)

FLOOR = 0.399  # step, linear and expo act only above it, so that they may end a little below


def eps_at(epoch: int, *, schedule: str, start: float, epochs: int) -> float:
    """The eps that epoch number `epoch` clusters with; the first epoch's is already shrunk.

    `fix` keeps `start`; `step` subtracts 0.03 at every epoch divisible by 5; `linear` subtracts 0.005 and `expo`
    takes off one per cent at every epoch; `log` is start - start ln(1 + epoch (e - 1) / epochs) / 2.

    Args:
        epoch: from 0.
        schedule: one of `SCHEDULES`.
        start: eps before the first epoch, in (0, 1).
        epochs: length of the run; only `log` depends on it.

    Raises:
        ValueError: unknown schedule, `start` outside (0, 1), negative epoch, no epochs.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"eps schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if not 0 < start < 1:
        raise ValueError(f"eps must be in (0, 1), got {start}")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if epoch < 0:
        raise ValueError(f"epoch must be at least 0, got {epoch}")
    if schedule == "fix":
        return start
    if schedule == "log":
        return start - start * math.log(1 + epoch * (math.e - 1) / epochs) / 2
    eps = start
    # One epoch after another, because the floor is compared with the value as it has come down so far.
    for past in range(epoch + 1):
        if eps <= FLOOR:
            break
        if schedule == "linear":
            eps -= 0.005
        elif schedule == "expo":
            eps *= 0.99
        elif past % 5 == 0:
            eps -= 0.006 * 5
    return eps
