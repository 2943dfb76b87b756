"""Strided convolutions in bf16 on a CPU are right where maps are narrow, whatever the processor."""

import pytest
import torch
from torch import nn

from pipeline.model import build
from pipeline.model.narrow_maps import StridedConvolution, guard_


@pytest.mark.parametrize("width", [1, 2, 3, 8])
@pytest.mark.parametrize("batch", [1, 32])
def test_result_and_gradients_are_those_of_float32(width: int, batch: int) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(64, 64, kernel_size=3, stride=2, padding=1, bias=False))
    images = torch.randn(batch, 64, 8, width).bfloat16().float().requires_grad_()
    weight = layer[0].weight
    weight.data = weight.data.bfloat16().float()
    expected = layer(images)
    upstream = torch.randn_like(expected).bfloat16().float()
    wanted = torch.autograd.grad(expected, (images, weight), upstream)
    guard_(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(images)
    assert found.dtype == torch.bfloat16
    grads = torch.autograd.grad(found, (images, weight), upstream.bfloat16())
    for one, other in zip((found, *grads), (expected, *wanted), strict=True):
        assert float((one.detach().float() - other.detach()).norm() / other.detach().norm()) < 0.02


def test_what_can_meet_narrow_maps_is_guarded() -> None:
    network = build("resnet10_w32")
    guarded = {name for name, each in network.named_modules() if isinstance(each, StridedConvolution)}
    strided = {
        name
        for name, each in network.named_modules()
        if isinstance(each, nn.Conv2d) and each.stride != (1, 1) and each.kernel_size != (1, 1)
    }
    assert guarded == strided and guarded


def test_float32_keeps_its_bits() -> None:
    layer, images = nn.Conv2d(8, 8, kernel_size=3, stride=2, padding=1), torch.randn(4, 8, 4, 2)
    expected = layer(images)
    guard_(layer)
    assert torch.equal(layer(images), expected)
