"""A residual network for inference on a GPU, where its elementwise layers take as long as its convolutions.

A batch normalization in eval mode is an affine map for each channel. Folded into the convolution before it, and with
the activation and the residual sum computed by the convolution's own kernel, nothing but convolutions reads and writes
the feature maps. The function is the same, the rounding is not: the weights are folded in double precision.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018, section 3.2.

Shapes: B images, C and D channels, H x W pixels of a map.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from pipeline.model.network import Network
from pipeline.model.trunk import Trunk

Maps = Callable[[Tensor], Tensor]  # feature maps (B, C, H, W) -> (B, D, H', W')


def for_inference(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """What computes a model's embeddings fastest where it is: the model itself, or a folded network of its weights now.

    Args:
        model: images (B, 3, H, W) -> embeddings (B, D); in eval mode.
    """
    if not isinstance(model, Network) or not isinstance(model.backbone, Trunk):
        return model
    weight = next(model.parameters())
    in_float32 = weight.dtype == torch.float32 and not torch.is_autocast_enabled(weight.device.type)
    return folded(model) if weight.device.type == "cuda" and in_float32 else model


@torch.no_grad()
def folded(network: Network) -> Callable[[Tensor], Tensor]:
    """A residual network's embeddings (B, D) of images (B, 3, H, W), by its weights and running statistics of now."""
    trunk = network.backbone
    assert isinstance(trunk, Trunk) and not network.training, "a residual network in eval mode"
    stem = _activated(trunk.conv1, trunk.bn1)
    blocks = [_block(block) for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4) for block in layer]

    def embed(images: Tensor) -> Tensor:
        maps = trunk.maxpool(stem(trunk.renormalize(images)))
        for block in blocks:
            maps = block(maps)
        return network.head(maps)

    return embed


@dataclass(frozen=True)
class _Folded:
    """A convolution with the batch normalization behind it."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, convolution: nn.Conv2d, norm: nn.Module) -> "_Folded":
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        assert convolution.bias is None and isinstance(convolution.padding, tuple)
        weight, mean, variance = convolution.weight.double(), norm.running_mean.double(), norm.running_var.double()
        scale = norm.weight.double() / (variance + norm.eps).sqrt()
        shape = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
        return cls(
            (weight * scale[:, None, None, None]).to(convolution.weight),
            (norm.bias.double() - mean * scale).to(convolution.weight),
            *shape,
        )

    def plain(self, maps: Tensor) -> Tensor:
        """Without the bias, which whoever adds this up adds too."""
        return F.conv2d(maps, self.weight, None, self.stride, self.padding, self.dilation, self.groups)

    def activated(self, maps: Tensor) -> Tensor:
        shape = (self.stride, self.padding, self.dilation, self.groups)
        if maps.is_cuda:
            return torch.cudnn_convolution_relu(maps, self.weight, self.bias, *shape)
        return F.conv2d(maps, self.weight, self.bias, *shape).relu_()

    def added_and_activated(self, maps: Tensor, others: Tensor, bias: Tensor) -> Tensor:
        shape = (self.stride, self.padding, self.dilation, self.groups)
        if maps.is_cuda:
            return torch.cudnn_convolution_add_relu(maps, self.weight, others, 1.0, bias, *shape)
        return F.conv2d(maps, self.weight, bias, *shape).add_(others).relu_()


def _activated(convolution: nn.Conv2d, norm: nn.Module) -> Maps:
    """Convolution, normalization, activation. A half of IBN's is each image's own, and cannot be folded."""
    if isinstance(norm, nn.BatchNorm2d):
        return _Folded.of(convolution, norm).activated
    return lambda maps: norm(convolution(maps)).relu_()


def _block(block: nn.Module) -> Maps:
    assert isinstance(block, BasicBlock | Bottleneck)
    *first, last = _layers(block)
    steps, end = [_activated(convolution, norm) for convolution, norm in first], _Folded.of(*last)
    skip = None if block.downsample is None else _Folded.of(block.downsample[0], block.downsample[1])
    bias = end.bias if skip is None else end.bias + skip.bias

    def forward(maps: Tensor) -> Tensor:
        others = maps if skip is None else skip.plain(maps)
        for step in steps:
            maps = step(maps)
        return end.added_and_activated(maps, others, bias)

    return forward


def _layers(block: BasicBlock | Bottleneck) -> Iterator[tuple[nn.Conv2d, nn.Module]]:
    yield block.conv1, block.bn1
    yield block.conv2, block.bn2
    if isinstance(block, Bottleneck):
        yield block.conv3, block.bn3
