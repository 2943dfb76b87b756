"""Global pooling against its formulas."""

from typing import get_args

import pytest
import torch

from pipeline.config.schema import Model
from pipeline.model.pooling import POOLINGS, TOKEN_POOLINGS, GeneralizedMeanPool


@pytest.fixture
def maps():
    return torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0))


def test_pooling_toy():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert POOLINGS["avg"]()(maps).item() == 3
    assert POOLINGS["max"]()(maps).item() == 6
    assert POOLINGS["avg+max"]()(maps).item() == 9
    # (1 + 8 + 27 + 216) / 4 = 63
    assert POOLINGS["gem"]()(maps).item() == pytest.approx(63 ** (1 / 3))


def test_gem_goes_from_mean_to_maximum(maps):
    positive = maps.abs() + 0.1
    torch.testing.assert_close(GeneralizedMeanPool(p=1.0)(positive), positive.mean(dim=(2, 3)))
    torch.testing.assert_close(
        GeneralizedMeanPool(p=300.0).double()(positive.double()), positive.double().amax(dim=(2, 3)), rtol=0.02, atol=0
    )


def test_gem_learns_its_exponent_and_survives_zeros():
    pool = GeneralizedMeanPool()
    maps = torch.zeros(2, 3, 4, 4, requires_grad=True)
    pool(maps).sum().backward()
    assert pool.p.item() == 3
    assert torch.isfinite(pool.p.grad).all()
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_float32_or_wider(name, maps):
    assert POOLINGS[name]()(maps.to(torch.bfloat16)).dtype == torch.float32
    assert POOLINGS[name]().double()(maps.double()).dtype == torch.float64


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_does_not_depend_on_the_layout(name, maps):
    pool = POOLINGS[name]()
    torch.testing.assert_close(pool(maps.to(memory_format=torch.channels_last)), pool(maps))


def test_poolings_are_those_of_the_settings():
    assert {*POOLINGS, *TOKEN_POOLINGS} == set(get_args(Model.model_fields["pooling"].annotation))
