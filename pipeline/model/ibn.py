"""IBN-a: instance normalization on the first half of the channels, batch normalization on the rest.

Source: Pan, Luo, Shi & Tang, "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net", ECCV 2018.
In layer1 to layer3 it takes the place of the first normalization of each bottleneck; layer4 stays plain. The names
`IN` and `BN` are those of the released weights.

Shapes: B images, C channels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NormLayer = Callable[[int], nn.Module]


def insert_ibn_(trunk: nn.Module, *, norm_layer: NormLayer) -> None:
    """Replaces `bn1` of each block in layer1 to layer3 of a ResNet by an `IBN` of the same width."""
    for name in ("layer1", "layer2", "layer3"):
        blocks: Any = trunk.get_submodule(name)
        for block in blocks:
            block.bn1 = IBN(block.bn1.num_features, norm_layer=norm_layer)


class IBN(nn.Module):
    """Instance-batch normalization, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, num_features: int, *, norm_layer: NormLayer) -> None:
        super().__init__()
        self.num_instance = num_features // 2
        self.IN = nn.InstanceNorm2d(self.num_instance, affine=True)
        self.BN = norm_layer(num_features - self.num_instance)

    def forward(self, x: Tensor) -> Tensor:
        # The halves of a channels_last tensor, and torch's instance norm, would fall back to the other layout.
        last = x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        instance, batch = (half.contiguous(memory_format=layout) for half in x.tensor_split([self.num_instance], dim=1))
        return torch.cat([self.IN(instance).contiguous(memory_format=layout), self.BN(batch)], dim=1)
