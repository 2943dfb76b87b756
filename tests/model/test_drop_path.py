"""Stochastic depth by given choices: against timm's definition, its shares, and where there is none."""

import numpy as np
import pytest
import timm
import torch
from timm.layers.drop import DropPath as TimmDropPath

from pipeline.common.errors import UserError
from pipeline.model import build
from pipeline.model.drop_path import DropPath, draw_factors, drop_paths, give_factors_

SIZE = (64, 32)


def images(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def test_rates_are_those_of_timm() -> None:
    ours = drop_paths(build("timm/test_vit", drop_path=0.3, image_size=SIZE))
    theirs = timm.create_model("test_vit", drop_path_rate=0.3)
    expected = [m.drop_prob for m in theirs.modules() if isinstance(m, TimmDropPath)]
    assert len(ours) > 2 and [layer.rate for layer in ours] == pytest.approx(expected)


def test_share_of_dropped_paths_is_the_rate_and_the_mean_is_kept() -> None:
    network = build("timm/test_vit", drop_path=0.4, image_size=SIZE)
    factors = draw_factors(network, 20_000, np.random.default_rng(0))
    rates = torch.tensor([layer.rate for layer in drop_paths(network)])
    torch.testing.assert_close((factors == 0).float().mean(dim=1), rates, atol=0.02, rtol=0)
    torch.testing.assert_close(factors.mean(dim=1), torch.ones(len(rates)), atol=0.02, rtol=0)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 2), (3, 5, 2, 2)])
def test_branch_is_multiplied_per_image(shape: tuple[int, ...]) -> None:
    layer, branch = DropPath(0.5), torch.rand(shape)
    layer.factors = torch.tensor([2.0, 0.0, 2.0])
    expected = branch * 2
    expected[1] = 0
    assert torch.equal(layer(branch), expected)
    assert layer.eval()(branch) is branch
    layer.train().factors = None
    assert layer(branch) is branch


@pytest.mark.parametrize("backbone", ["timm/test_vit", "timm/test_convnext", "timm/test_mambaout"])
def test_image_without_any_branch_passes_unchanged(backbone: str) -> None:
    torch.manual_seed(0)
    network = build(backbone, drop_path=0.3, image_size=SIZE, bn_group=2).train()
    give_factors_(network, torch.ones(len(drop_paths(network)), 4))
    whole = network.backbone(images())
    give_factors_(network, None)
    assert torch.equal(network.backbone(images()), whole)
    give_factors_(network, draw_factors(network, 4, np.random.default_rng(1)))
    assert not torch.equal(network.backbone(images()), whole)
    state = torch.get_rng_state()
    network(images())
    assert torch.equal(torch.get_rng_state(), state)


def test_initial_values_do_not_depend_on_the_rate() -> None:
    states = []
    for rate in (0.0, 0.3):
        torch.manual_seed(0)
        states.append(build("timm/test_vit", drop_path=rate, image_size=SIZE).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("backbone", ["resnet50", "timm/vgg11"])
def test_backbone_without_it_is_one_line(backbone: str) -> None:
    with pytest.raises(UserError, match=f"^model.drop_path: {backbone} has no stochastic depth: set it to 0, or"):
        build(backbone, drop_path=0.1, image_size=SIZE)
