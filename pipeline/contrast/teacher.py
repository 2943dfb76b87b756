"""The teacher: an exponential moving average of the student's parameters (Tarvainen & Valpola, NeurIPS 2017).

    θ_T <- a θ_T + (1 - a) θ_S            after every step, a = `teacher_decay(step)`

Only parameters follow the student. The teacher's BatchNorm statistics come from its own forward passes.
"""

import torch
from torch import nn

# The published schedule starts to ramp after this many steps: a is 0 there, so the teacher is the student once.
HARD_COPY_STEP = 99


def teacher_decay(step: int, *, decay: float = 0.999) -> float:
    """The share a of the teacher that is kept after global step `step` (from 0, counted over all epochs).

    `decay` for the first 99 steps; then min(1 - 1/(step - 98), decay): a hard copy of the student at step 99, the
    running mean of the students since then, and `decay` again once that is reached (step 1098 for 0.999).
    """
    if step < HARD_COPY_STEP:
        return decay
    return min(1 - 1 / (step - HARD_COPY_STEP + 1), decay)


@torch.no_grad()
def update_teacher_(teacher: nn.Module, student: nn.Module, *, decay: float) -> None:
    """θ_T <- decay θ_T + (1 - decay) θ_S for all parameters that the student learns.

    Its other parameters, which are the same in both, and the buffers of the teacher stay as they are.
    """
    pairs = list(zip(teacher.parameters(), student.parameters(), strict=True))
    mine: list[torch.Tensor] = [mine for mine, theirs in pairs if theirs.requires_grad]
    theirs: list[torch.Tensor] = [theirs for _, theirs in pairs if theirs.requires_grad]
    torch._foreach_mul_(mine, decay)
    torch._foreach_add_(mine, theirs, alpha=1 - decay)
