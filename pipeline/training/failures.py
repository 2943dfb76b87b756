"""Failures of a training that the user can mend by a setting, in one line each."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.common.device import out_of_memory
from pipeline.common.errors import UserError

_REFUSED = "does not have a deterministic implementation"


@contextmanager
def explained() -> Iterator[None]:
    """Around a training.

    Raises:
        UserError: a GPU has no memory left, or a network needs a kernel that gives other bits in every run.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory(
            error,
            "take more processes (train.processes, one per GPU), train.precision=bf16, or a smaller sampler.batch, "
            "which changes the result",
        ) from error
    except RuntimeError as error:
        if _REFUSED not in str(error):
            raise
        operator = str(error).split(_REFUSED)[0].strip()
        raise UserError(
            f"train.deterministic: {operator} of this network gives other bits in every run on a GPU",
            "set it to false, or take another backbone or pooling",
        ) from error
