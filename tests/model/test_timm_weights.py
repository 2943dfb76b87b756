"""Published weights of timm's models: all of a file fits, or it is named what does not."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.common.errors import UserError
from pipeline.model import build, load_weights_

SIZE = (64, 32)


def published(name, **options):
    """The state dict of timm's whole model, with values of its own everywhere."""
    torch.manual_seed(7)
    model = timm.create_model(name, **options)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 3 + 0.1)
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def network(name, size=SIZE, **options):
    torch.manual_seed(0)
    return build(f"timm/{name}", image_size=size, **options)


def trunk_of(net):
    return {key.removeprefix("timm."): tensor for key, tensor in net.backbone.state_dict().items()}


def refused(net, weights, match):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UserError, match=match) as caught:
        load_weights_(net, weights)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("resnet10t", {"fc.weight", "fc.bias"}),
        ("test_efficientnet", {"classifier.weight", "classifier.bias"}),
        ("test_convnext", {"head.fc.weight", "head.fc.bias"}),
    ],
)
@pytest.mark.parametrize("num_classes", [1000, 7])
def test_published_file_is_loaded_and_its_classifier_named(name, classifier, num_classes):
    net, state = network(name), published(name, num_classes=num_classes)
    loaded = load_weights_(net, state)
    assert set(loaded.left_out) == classifier
    assert all(not key.startswith("backbone.") for key in loaded.initial)
    ours = trunk_of(net)
    assert ours.keys() == state.keys() - classifier
    assert all(torch.equal(tensor, state[key]) for key, tensor in ours.items())


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "base.", "module.model."])
def test_prefixes_and_wrappers_are_recognised(prefix, wrapper):
    net, state = network("test_convnext"), published("test_convnext")
    content = {prefix + key: tensor for key, tensor in state.items()}
    loaded = load_weights_(net, content if wrapper is None else {"epoch": 1, wrapper: content})
    assert set(loaded.left_out) == {"head.fc.weight", "head.fc.bias"} | (set() if wrapper is None else {"epoch"})
    assert all(torch.equal(tensor, state[key]) for key, tensor in trunk_of(net).items())


def test_file_without_a_classifier_is_loaded(tmp_path):
    net, state = network("test_vit"), published("test_vit", num_classes=0, img_size=SIZE)
    save_file(state, tmp_path / "weights.safetensors")
    loaded = load_weights_(net, tmp_path / "weights.safetensors")
    assert loaded.left_out == ()
    assert all(torch.equal(tensor, state[key]) for key, tensor in trunk_of(net).items())


def test_positions_are_resampled_for_the_size_of_the_crops():
    net, state = network("test_vit"), published("test_vit")
    rows = torch.arange(10.0).view(10, 1, 1).expand(10, 10, 64)
    state["pos_embed"] = torch.cat([torch.full((1, 1, 64), 99.0), rows.reshape(1, 100, 64)], dim=1)
    assert set(load_weights_(net, state).left_out) == {"head.weight", "head.bias"}
    ours = trunk_of(net)
    assert torch.equal(ours["pos_embed"][0, 0], torch.full((64,), 99.0))
    grid = ours["pos_embed"][0, 1:].view(4, 2, 64)
    torch.testing.assert_close(grid[:, 0], grid[:, 1])  # still rows
    assert (grid[1:] > grid[:-1] + 1).all()  # still in order, from the first to the last
    others = ours.keys() - {"pos_embed"}
    assert all(torch.equal(ours[key], state[key]) for key in others)


def test_trunk_for_another_size_of_image_is_resampled():
    net = network("test_vit", (160, 160))
    state = published("test_vit", num_classes=0, global_pool="")
    del state["cls_token"]
    refused(net, state, r"do not fit timm/test_vit: .*Missing key.*cls_token")
    state = published("test_vit", num_classes=0, global_pool="")
    small = network("test_vit")
    load_weights_(small, state)
    assert trunk_of(small)["pos_embed"].shape == (1, 1 + 8, 64)


def test_names_of_the_authors_are_translated_as_timm_does():
    """ConvNeXt as Facebook Research published it."""
    net, state = network("convnext_atto"), published("convnext_atto")
    theirs = {}
    for key, tensor in state.items():
        key = key.replace("stem.0", "downsample_layers.0.0").replace("stem.1", "downsample_layers.0.1")
        key = key.replace("head.norm", "norm").replace("head.fc", "head").replace("mlp.fc1", "pwconv1")
        for stage in range(4):
            key = key.replace(f"stages.{stage}.downsample", f"downsample_layers.{stage}")
            key = key.replace(f"stages.{stage}.blocks", f"stages.{stage}")
        key = key.replace("mlp.fc2", "pwconv2").replace("conv_dw", "dwconv")
        theirs[key] = tensor
    loaded = load_weights_(net, {"model": theirs})
    assert set(loaded.left_out) == {"head.fc.weight", "head.fc.bias"}
    assert all(torch.equal(tensor, state[key]) for key, tensor in trunk_of(net).items())


def test_head_that_has_the_last_norm_is_left_out_and_ours_named():
    name = "eva02_tiny_patch14_224"
    net = network(name, (28, 28))
    loaded = load_weights_(net, published(name, num_classes=3))
    assert set(loaded.left_out) == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}
    assert {"backbone.timm.norm.weight", "backbone.timm.norm.bias"} <= set(loaded.initial)
    assert torch.equal(net.backbone.timm.norm.weight, torch.ones(192))


def test_unexpected_missing_and_misshapen_are_listed():
    net, state = network("resnet10t"), published("resnet10t")
    state["layer9.weight"] = state.pop("layer1.0.conv1.weight")
    state["bn1.bias"] = state["bn1.bias"][:5]
    refused(
        net,
        state,
        "the weights of the given state dict do not fit timm/resnet10t: .*Missing key.*layer1.0.conv1.weight.*"
        "Unexpected key.*layer9.weight.*size mismatch for bn1.bias",
    )
    state = published("resnet10t")
    state["bn1.bias"][3] = float("nan")
    refused(net, state, "not finite: timm.bn1.bias")
    refused(net, published("test_convnext"), "do not fit timm/resnet10t: .*Missing key")
    refused(network("test_convnext"), published("resnet10t"), "do not fit timm/test_convnext: ")
    refused(build("resnet10"), published("resnet10t"), "of another shape: .*")


def test_long_lists_are_cut():
    with pytest.raises(UserError) as caught:
        load_weights_(network("resnet10t"), {"what": torch.ones(1)})
    assert len(str(caught.value)) < 1100 and str(caught.value).endswith(" ...")


def test_whole_network_is_loaded_with_its_head():
    torch.manual_seed(3)
    other = build("timm/test_vit", features=8, image_size=SIZE)
    for prefix in ("", "student.", "module."):
        net = network("test_vit", features=8)
        loaded = load_weights_(net, {prefix + key: tensor for key, tensor in other.state_dict().items()})
        assert loaded.left_out == loaded.initial == ()
        assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in net.state_dict().items())
    refused(network("test_vit", (128, 64), features=8), other.state_dict(), "image size.*another shape: timm.pos_embed")
    refused(build("resnet10", features=8), other.state_dict(), "unexpected: timm.blocks.0")
    refused(network("test_vit", features=8), build("resnet10", features=8).state_dict(), "do not fit timm/test_vit")


def test_loading_leaves_the_global_generator_alone():
    state = published("test_convnext")
    found = []
    for weights in (None, state):
        torch.manual_seed(0)
        build("timm/test_convnext", image_size=SIZE, weights=weights)
        found.append(torch.rand(1))
    assert torch.equal(*found)


def test_input_is_not_modified():
    state = published("test_vit")
    before = {key: tensor.clone() for key, tensor in state.items()}
    load_weights_(network("test_vit"), state)
    assert state.keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in state.items())
