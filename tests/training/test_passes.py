"""Gradients as rows; the passes themselves are tested by the steps that they make (test_exact.py, test_on_a_gpu.py)."""

import pytest
import torch
from torch import nn

from pipeline.training.passes import FlatGradient


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).double()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rows_become_the_gradients_in_the_layout_of_the_parameters(layout: torch.memory_format) -> None:
    model = network().to(memory_format=layout)
    images, pull = torch.randn(2, 3, 6, 6, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(model(images), parameters, pull)
    gradient = FlatGradient(parameters, parameters)
    row = gradient.of(model(images), pull)
    assert row.shape == (sum(parameter.numel() for parameter in parameters),)
    gradient.give(row)
    for parameter, one in zip(parameters, expected, strict=True):
        assert parameter.grad is not None and parameter.grad.stride() == parameter.stride()
        torch.testing.assert_close(parameter.grad, one)


def test_rows_of_leaves_of_another_type_are_in_that_of_the_parameters() -> None:
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    leaves = [parameters[0], torch.ones(3, dtype=torch.bfloat16, requires_grad=True)]
    gradient = FlatGradient(parameters, leaves)
    row = gradient.of((leaves[0].sum() * leaves[1].float()).sum()[None], torch.ones(1))
    gradient.give(row)
    assert row.dtype == torch.float32
    assert parameters[0].grad.tolist() == [3.0, 3.0] and parameters[1].grad.tolist() == [2.0, 2.0, 2.0]
