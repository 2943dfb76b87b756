"""Frozen parts: neither parameters nor statistics move, and what follows them learns."""

import copy

import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.model import build, commit_statistics_

THIN = "resnet10_w32"


def images(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 3, 32, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("parts", "still"),
    [
        ([], ()),
        (["conv1", "bn1", "layer1"], ("conv1.", "bn1.", "layer1.")),
        (["layer1.0.conv1"], ("layer1.0.conv1.",)),
        (["layer1.0.bn1.weight"], ("layer1.0.bn1.weight",)),
    ],
)
def test_frozen_part_stays_and_the_others_learn(parts: list[str], still: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    network = build(THIN, freeze=parts, bn_group=2)
    before = copy.deepcopy(network.state_dict())
    network(images())[:, ::2].sum().backward()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1, weight_decay=0.1).step()
    commit_statistics_(network)
    for name, tensor in network.state_dict().items():
        fixed = name.removeprefix("backbone.").startswith(still) if still else False
        assert torch.equal(tensor, before[name]) == (fixed or name == "neck.bias"), name


def test_frozen_part_is_a_fixed_function_in_training_too() -> None:
    torch.manual_seed(0)
    network = build(THIN, freeze=["conv1", "bn1"])
    stem = torch.nn.Sequential(network.backbone.conv1, network.backbone.bn1)
    assert torch.equal(stem.train()(images()), stem.eval()(images()))


def test_part_of_a_timm_model_goes_by_timms_names() -> None:
    network = build("timm/test_vit", freeze=["patch_embed", "pos_embed", "blocks.0"], image_size=(32, 16))
    frozen = {name for name, p in network.backbone.timm.named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {"patch_embed", "pos_embed", "blocks"}
    assert not any(name.startswith("blocks.1") for name in frozen)


@pytest.mark.parametrize(
    ("backbone", "part", "parts"),
    [
        (THIN, "layer", "conv1, bn1, layer1, layer2, layer3, layer4"),
        ("timm/test_vit", "stem", "cls_token, pos_embed, "),
    ],
)
def test_part_that_is_not_there_is_one_line(backbone: str, part: str, parts: str) -> None:
    with pytest.raises(UserError, match=f"^model.freeze: {backbone} has no part '{part}'; its parts are {parts}"):
        build(backbone, freeze=[part], image_size=(32, 16))
