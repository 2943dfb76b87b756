"""Trunks against torchvision's own networks and published parameter counts."""

import pytest
import torch
import torchvision
from torch import nn

from pipeline.model.backbones import BACKBONES
from pipeline.model.ibn import IBN
from pipeline.model.trunk import Trunk

CLASSES = 1000
# Parameters as published with the weights (torchvision's pages), classifier included, and width of the output.
# IBN-a has as many as its plain network: an instance norm has a weight and a bias a channel as well.
PUBLISHED = {
    "resnet18": (11_689_512, 512),
    "resnet34": (21_797_672, 512),
    "resnet50": (25_557_032, 2048),
    "resnet101": (44_549_160, 2048),
    "resnet152": (60_192_808, 2048),
    "resnet_ibn50a": (25_557_032, 2048),
    "resnet_ibn101a": (44_549_160, 2048),
}


def trunk(name):
    return Trunk(BACKBONES[name], norm_layer=nn.BatchNorm2d)


@pytest.mark.parametrize("name", PUBLISHED)
def test_trunk_has_the_published_number_of_parameters(name):
    total, width = PUBLISHED[name]
    with torch.device("meta"):
        model = trunk(name)
    classifier = width * CLASSES + CLASSES
    assert sum(parameter.numel() for parameter in model.parameters()) == total - classifier
    assert model.num_features == width


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_trunk_has_the_tensors_of_torchvision(name):
    with torch.device("meta"):
        ours, theirs = trunk(name).state_dict(), getattr(torchvision.models, name)().state_dict()
    shapes = {key: value.shape for key, value in theirs.items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.items()} == shapes


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_trunk_computes_what_torchvision_does_with_the_last_stride_removed(name):
    torch.manual_seed(0)
    ours, theirs = trunk(name).eval(), getattr(torchvision.models, name)().eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    first = theirs.layer4[0]
    (first.conv2 if name == "resnet50" else first.conv1).stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    theirs.avgpool, theirs.fc = nn.AdaptiveAvgPool2d((2, 1)), nn.Identity()
    images = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(images).flatten(1), theirs(images))


@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.endswith(("101", "152", "101a"))])
def test_trunk_keeps_a_sixteenth_of_the_resolution(name):
    with torch.device("meta"):
        model = trunk(name).eval()
        maps = model(torch.empty(2, 3, 256, 128))
        small = model(torch.empty(2, 3, 60, 33))
    assert maps.shape == (2, model.num_features, 16, 8)
    assert small.shape == (2, model.num_features, 4, 3)


@pytest.mark.parametrize("name", ["resnet10_w32", "resnet18_w32"])
def test_thin_trunk_has_half_the_width_everywhere(name):
    wide_name = {"resnet10_w32": "resnet10", "resnet18_w32": "resnet18"}[name]
    thin, wide = trunk(name).state_dict(), trunk(wide_name).state_dict()
    assert thin.keys() == wide.keys()
    assert all(thin[key].shape[0] * 2 == wide[key].shape[0] for key in thin if thin[key].ndim)
    assert trunk(name).num_features == 256


def test_ibn_is_in_the_first_three_stages_only():
    with torch.device("meta"):
        model = trunk("resnet_ibn50a")
    places = {name for name, module in model.named_modules() if isinstance(module, IBN)}
    assert places == {
        f"layer{stage}.{block}.bn1" for stage, blocks in ((1, 3), (2, 4), (3, 6)) for block in range(blocks)
    }
    assert model.layer2[0].bn1.IN.weight.shape == model.layer2[0].bn1.BN.weight.shape == (64,)
    assert "layer1.0.bn1.IN.running_mean" not in model.state_dict()


@pytest.mark.parametrize("name", ["resnet18", "resnet10_w32", "resnet_ibn50a"])
def test_convolutions_start_kaiming_fan_out(name):
    torch.manual_seed(0)
    for module in trunk(name).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
            assert module.bias is None
