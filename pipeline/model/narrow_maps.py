"""Strided convolutions of narrow maps, which a CPU sums in 32 bits where all else is in 16.

oneDNN, which computes PyTorch's convolutions on a CPU, gets them wrong in bf16 where the stride is above 1, the kernel
larger than 1, and a map at most 2 wide: it reads memory that nobody has written. What comes out is off by as much as
itself, or not finite; on processors with AMX the result, on others the gradient of the weights (PyTorch 2.15; maps 3 or
more wide were right in all shapes that were tried). Small crops come down to such maps: 64 x 32 pixels in a ResNet.
"""

import torch
from torch import Tensor, nn

NARROW = 4  # with a margin


class StridedConvolution(nn.Conv2d):
    """`nn.Conv2d`, whose narrow maps have their sums in float32 under autocast on a CPU."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        wide = min(input.shape[-2:]) > NARROW
        if wide or input.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super()._conv_forward(input, weight, bias)
        half = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            # Of the factors that autocast would multiply, whether it or `HalfWeights` has rounded them.
            factors = [None if each is None else each.to(half).float() for each in (input, weight, bias)]
            exact = super()._conv_forward(*factors)  # type: ignore[arg-type]
        return exact.to(half)


def guard_(network: nn.Module) -> None:
    """Makes the convolutions of a network that narrow maps can reach such ones; parameters and their names stay."""
    for module in network.modules():
        if type(module) is nn.Conv2d and max(module.stride) > 1 and max(module.kernel_size) > 1:
            module.__class__ = StridedConvolution
