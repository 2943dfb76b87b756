"""Working copies in half precision give the bits of autocast, with fewer conversions."""

import pytest
import torch

from pipeline.common.precision import Precision
from pipeline.model import build
from pipeline.training.half_weights import HalfWeights

CPU = torch.device("cpu")


def gradients(
    call: object, leaves: list[torch.Tensor], images: torch.Tensor, precision: Precision
) -> list[torch.Tensor]:
    with precision.forward():
        embeddings = call(images)
    pull = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(2))
    return [embeddings.detach(), *torch.autograd.grad(embeddings, leaves, pull, allow_unused=True)]


@pytest.mark.parametrize("name", ["bf16", "fp16"])
@pytest.mark.parametrize("backbone", ["resnet10_w32", "timm/test_vit", "timm/test_convnext"])
def test_copies_give_the_bits_of_autocast(backbone: str, name: str) -> None:
    torch.manual_seed(1)
    precision = Precision(name, CPU)
    network = build(backbone, features=8, image_size=(64, 32))
    images = torch.randn(4, 3, 64, 32)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert precision.half is not None
    halves = HalfWeights(network, precision.half)
    halves.refresh()
    expected = gradients(network, parameters, images, precision)
    found = gradients(halves, halves.leaves(parameters), images, precision)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.to(other.dtype).equal(other)


def test_copies_follow_the_parameters_when_they_are_refreshed() -> None:
    network = build("resnet10_w32")
    halves = HalfWeights(network, torch.bfloat16)
    halves.refresh()
    with torch.no_grad():
        network.get_parameter("backbone.conv1.weight").fill_(0.5)
    (leaf,) = halves.leaves([network.get_parameter("backbone.conv1.weight")])
    assert not leaf.eq(0.5).all()
    halves.refresh()
    assert leaf.eq(0.5).all() and leaf.dtype == torch.bfloat16 and leaf.is_leaf and leaf.requires_grad


def test_only_convolutions_and_linear_layers_of_the_backbone_have_copies() -> None:
    network = build("resnet10_w32", features=4)
    parameters = dict(network.named_parameters())
    leaves = dict(zip(parameters, HalfWeights(network, torch.float16).leaves(list(parameters.values())), strict=True))
    halved = {name for name, leaf in leaves.items() if leaf.dtype == torch.float16}
    assert "backbone.conv1.weight" in halved
    assert not {name for name in halved if "bn" in name or not name.startswith("backbone.")}
