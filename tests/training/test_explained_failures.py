"""What a user can mend by a setting is one line."""

import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.training.failures import explained


def test_kernel_that_is_refused_names_the_setting() -> None:
    with pytest.raises(UserError) as caught, explained():
        raise RuntimeError(
            "upsample_bicubic2d_backward_out_cuda does not have a deterministic implementation, but you set\n"
            "'torch.use_deterministic_algorithms(True)'."
        )
    assert str(caught.value) == (
        "train.deterministic: upsample_bicubic2d_backward_out_cuda of this network gives other bits in every run on a "
        "GPU: set it to false, or take another backbone or pooling"
    )


def test_memory_that_is_missing_names_what_takes_less() -> None:
    with pytest.raises(UserError) as caught, explained():
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4.00 GiB of which 12.00 MiB "
            "is free. Including non-PyTorch memory, this process has 3.9 GiB memory in use.\nSee the documentation"
        )
    assert str(caught.value).startswith(
        "CUDA out of memory; Tried to allocate 2.00 GiB; GPU 0 has a total capacity of 4.00 GiB of which 12.00 MiB is "
        "free: take more processes (train.processes, one per GPU)"
    )


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="a defect"), explained():
        raise RuntimeError("a defect")
