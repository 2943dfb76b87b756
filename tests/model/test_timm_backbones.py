"""timm's models as trunks: published sizes, maps from every kind of output, repeatable steps, refusals."""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.common.imagenet import IMAGENET_MEAN, IMAGENET_STD
from pipeline.model import build, commit_statistics_, take_statistics_
from pipeline.model.batchnorm import GroupedBatchNorm1d, GroupedBatchNorm2d
from pipeline.model.probing import Probe, _RandomDraws, probe
from pipeline.model.timm_backbones import HEADLESS, TimmTrunk, is_timm, timm_config
from pipeline.model.timm_batchnorm import GroupedBatchNormAct2d

SIZE = (64, 32)
# Of each kind of output, normalisation and position: what comes out for 64 x 32 pixels, (C, h, w).
FAMILIES = {
    "resnet10t": (512, 2, 1),
    "test_efficientnet": (256, 2, 1),  # BatchNorm with its activation
    "mobilenetv3_small_050": (1024, 2, 1),  # a convolution behind the last stage
    "test_convnext": (64, 2, 1),  # LayerNorm
    "test_vit": (64, 8, 1),  # a class token, positions for one size of image
    "test_vit2": (64, 8, 1),
    "test_vit_relpos": (96, 8, 1),  # no class token, relative positions
    "vit_tiny_patch16_dinov3_qkvb": (192, 8, 1),  # register tokens, rotary positions
    "test_mambaout": (256, 2, 1),  # channels last
    "test_coatnet": (128, 2, 1),  # convolutions, then attention
    "test_nfnet": (192, 2, 1),  # no norm at all
}


def trunk(name, size=SIZE, group=None):
    return TimmTrunk(f"timm/{name}", image_size=size, group_size=group)


def images(batch=4, size=SIZE, seed=0):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def gradients(network, batch):
    """Of one step, as the trainer asks for them: every trainable parameter has one."""
    embeddings = network(batch)
    statistics = take_statistics_(network)
    parameters = [p for p in network.parameters() if p.requires_grad]
    return embeddings.detach(), statistics, torch.autograd.grad(embeddings[:, ::2].sum(), parameters)


@pytest.mark.parametrize("name", FAMILIES)
def test_family_trains_a_step(name):
    torch.manual_seed(0)
    network = build(f"timm/{name}", bn_group=2, image_size=SIZE)
    before = copy.deepcopy(network.state_dict())
    maps = network.backbone(images(2))
    assert maps.shape == (2, *FAMILIES[name])
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-3, eps=1e-20)  # moves what has the smallest of slopes
    for _ in range(2):  # behind a scale that starts at 0, nothing moves in the first
        _, statistics, slopes = gradients(network, images())
        for parameter, slope in zip(trainable, slopes, strict=True):
            parameter.grad = slope
        optimizer.step()
        commit_statistics_(network, statistics)
    after = network.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    still = {key for key, tensor in after.items() if torch.equal(tensor, before[key])}
    assert still <= {"neck.bias"}
    with torch.no_grad():
        embeddings = network.eval()(images(3))
    assert embeddings.shape == (3, network.num_features) == (3, FAMILIES[name][0])
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


# Parameters as timm's results/model_metadata-in1k.csv has them, in millions, classifier of 1000 classes included.
@pytest.mark.parametrize(
    ("name", "published", "width"),
    [
        ("resnet18", 11.69, 512),
        ("resnet50", 25.56, 2048),
        ("convnext_tiny", 28.59, 768),
        ("vit_small_patch16_224", 22.05, 384),
        ("vit_tiny_patch16_224", 5.72, 192),
        ("mobilenetv3_large_100", 5.48, 1280),
        ("swin_tiny_patch4_window7_224", 28.29, 768),
    ],
)
def test_trunk_has_the_published_number_of_parameters(name, published, width):
    with torch.device("meta"):
        model = TimmTrunk(f"timm/{name}", image_size=None, group_size=64)
    assert model.num_features == width
    count = sum(parameter.numel() for parameter in model.parameters()) + width * 1000 + 1000
    assert count / 1e6 == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("name", ["test_vit", "resnet10t", "test_efficientnet", "test_mambaout", "test_vit_relpos"])
def test_trunk_computes_what_timm_does(name):
    """The mean over our maps is what timm pools, where its head only pools."""
    torch.manual_seed(0)
    ours = trunk(name).eval()
    fixed: dict[str, Any] = {"img_size": SIZE} if timm_config(f"timm/{name}").fixed_input_size else {}
    theirs = timm.create_model(name, **HEADLESS, **fixed).eval()
    theirs.load_state_dict(ours.timm.state_dict())
    published: Any = theirs.pretrained_cfg
    mean, std = torch.tensor(published["mean"]), torch.tensor(published["std"])
    pixels = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        imagenet = (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
        expected = theirs((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        maps = ours(imagenet)
    if expected.ndim == 3:  # tokens
        expected = expected[:, getattr(theirs, "num_prefix_tokens", 0) :]
        torch.testing.assert_close(maps.squeeze(3).transpose(1, 2), expected, atol=1e-4, rtol=1e-4)
    else:
        last = name == "test_mambaout"
        torch.testing.assert_close(maps, expected.permute(0, 3, 1, 2) if last else expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["avg", "max", "gem", "avg+max"])
def test_every_pooling_and_an_embedding_fit_tokens(pooling):
    torch.manual_seed(0)
    network = build("timm/test_vit", pooling=pooling, features=24, image_size=SIZE)
    embeddings, _, slopes = gradients(network, images())
    assert embeddings.shape == (4, 24)
    assert all(torch.isfinite(slope).all() for slope in slopes)


def test_average_of_a_vit_is_the_mean_of_its_patch_tokens():
    torch.manual_seed(0)
    network = build("timm/test_vit", image_size=SIZE).eval()
    with torch.no_grad():
        tokens = network.backbone.timm(network.backbone.renormalize(images()))
        assert tokens.shape == (4, 1 + 8, 64)
        pooled = network.pool(network.backbone(images()))
    torch.testing.assert_close(pooled, tokens[:, 1:].mean(dim=1))


def test_vit_is_built_for_the_size_of_the_crops():
    assert trunk("test_vit", (256, 128)).timm.pos_embed.shape[1] == 1 + 16 * 8
    assert trunk("test_vit", None).timm.pos_embed.shape[1] == 1 + 10 * 10
    with torch.no_grad(), pytest.raises(AssertionError, match="Input height"):
        trunk("vit_tiny_patch16_224", (256, 128))(images())


def test_vit_does_not_see_what_is_over_beside_its_last_patch():
    with torch.device("meta"):
        model = trunk("vit_small_patch14_dinov2.lvd142m", (256, 128))
        assert model(torch.empty(2, 3, 256, 128)).shape == (2, 384, 18 * 9, 1)


@pytest.mark.parametrize(("name", "group"), [("resnet10t", 4), ("test_efficientnet", 4)])
def test_every_batchnorm_is_grouped(name, group):
    torch.manual_seed(0)
    network = build(f"timm/{name}", image_size=SIZE, bn_group=group)
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(layers) > 5
    assert all(isinstance(layer, GroupedBatchNorm1d | GroupedBatchNorm2d) for layer in layers)
    assert all(layer.group_size == group for layer in layers)
    whole = network(images(8))
    torch.testing.assert_close(whole[:4], network(images(8)[:4]))
    torch.testing.assert_close(whole[4:], network(images(8)[4:]))


def test_batchnorm_with_activation_computes_what_timms_does_and_keeps_its_names():
    torch.manual_seed(0)
    ours = trunk("test_efficientnet")
    theirs = timm.create_model("test_efficientnet", **HEADLESS)
    assert ours.timm.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.timm.state_dict())
    grouped = [module for module in ours.modules() if isinstance(module, GroupedBatchNormAct2d)]
    assert {type(module.act) for module in grouped} == {nn.SiLU, nn.Identity}
    batch = images()
    torch.testing.assert_close(ours(batch), theirs(ours.renormalize(batch)))
    commit_statistics_(ours)
    for key, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.timm.state_dict()[key], tensor)


def test_batchnorm_keeps_eps_and_momentum():
    """Those of models that came from TensorFlow are not torch's."""
    from pipeline.model.timm_batchnorm import group_batchnorms_

    model = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3, momentum=0.01), nn.BatchNorm2d(3, affine=False))
    plain = copy.deepcopy(model)
    group_batchnorms_(model, ["0", "1"], group_size=None)
    batch = images() * 3 + 1
    torch.testing.assert_close(model(batch), plain(batch))
    commit_statistics_(model)
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], tensor)
    assert model[0].eps == 1e-3


def test_batchnorm_under_two_names_stays_one():
    from pipeline.model.timm_batchnorm import group_batchnorms_

    model = nn.Module()
    model.first = model.second = nn.BatchNorm2d(3)
    group_batchnorms_(model, ["first"], group_size=2)
    assert model.first is model.second and isinstance(model.first, GroupedBatchNorm2d)


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        (nn.SyncBatchNorm(3), "layer 0 is a SyncBatchNorm, which cannot be grouped"),
        (nn.BatchNorm2d(3, momentum=None), "BatchNorm 0 keeps no running statistics"),
        (nn.BatchNorm2d(3, track_running_stats=False), "BatchNorm 0 keeps no running statistics"),
    ],
)
def test_batchnorm_that_cannot_be_grouped_is_named(layer, match):
    from pipeline.model.timm_batchnorm import group_batchnorms_

    with pytest.raises(ValueError, match=match):
        group_batchnorms_(nn.Sequential(layer), ["0"], group_size=2)


@pytest.mark.parametrize("name", ["rexnet_100", "ghostnet_050", "test_vit", "resnet10t"])
def test_step_draws_no_random_numbers(name):
    """The first two have dropout in their published definitions: a layer, and a function."""
    torch.manual_seed(0)
    network = build(f"timm/{name}", image_size=SIZE, bn_group=2).train()
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(gradients(network, images(2)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(a, b) for a, b in zip(found[0][2], found[1][2], strict=True))


def test_initial_values_follow_the_global_generator():
    networks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        networks.append(build("timm/test_vit", features=16, image_size=SIZE).state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
    assert not torch.equal(networks[0]["embedding.weight"], networks[2]["embedding.weight"])
    assert not torch.equal(networks[0]["backbone.timm.pos_embed"], networks[2]["backbone.timm.pos_embed"])


def test_copy_computes_the_same():
    torch.manual_seed(0)
    network = build("timm/test_vit", image_size=SIZE)
    assert torch.equal(copy.deepcopy(network)(images()), network(images()))


def test_model_that_draws_random_numbers_is_refused():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    with pytest.raises(ValueError, match=r"draws random numbers in training \(rand_like\)"):
        probe(Noisy(), torch.empty(2, 3, 4, 4, device="meta"))
    attention = nn.functional.scaled_dot_product_attention
    for dropout, refused in ((0.0, False), (0.1, True)):
        inputs = torch.rand(3, 1, 2, 4, 8)
        with _RandomDraws() as drawn:
            attention(*inputs, dropout_p=dropout)  # type: ignore[misc]
        assert bool(drawn.names) is refused


def test_model_is_probed_for_what_it_does():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 5, 1)
            self.norm, self.idle = nn.BatchNorm2d(5), nn.BatchNorm2d(5)

        def forward(self, x):
            return self.norm(self.used(x))

    with torch.device("meta"):
        found = probe(Odd(), torch.empty(2, 3, 4, 4))
    idle = ("unused.weight", "unused.bias", "idle.weight", "idle.bias")
    assert found == Probe("NCHW", 5, 0, ("norm",), idle)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda norm, x: norm(norm(x)), "BatchNorm 0 runs several times"),
        (lambda norm, x: norm(torch.cat([x, x])), "BatchNorm 0 does not see one row per image"),
        (lambda norm, x: norm(x).flatten(1), r"neither maps nor tokens but \(2, 48\)"),
        (lambda norm, x: [norm(x)], "neither maps nor tokens but list"),
    ],
)
def test_model_that_cannot_be_grouped_or_pooled_is_refused(change, match):
    class Odd(nn.Sequential):
        def forward(self, x):
            return change(self[0], x)

    with torch.device("meta"), pytest.raises(ValueError, match=match):
        probe(Odd(nn.BatchNorm2d(3)), torch.empty(2, 3, 4, 4))


def test_model_with_other_running_statistics_is_refused():
    class Odd(nn.Conv2d):
        pass

    with torch.device("meta"):
        model = nn.Sequential(Odd(3, 5, 1))
        model[0].register_buffer("running_scale", torch.ones(5))
        with pytest.raises(ValueError, match="keeps running statistics in 0.running_scale"):
            probe(model, torch.empty(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("resnet10", r"timm [\d.]+ has no model 'resnet10'; is it timm/.*resnet10t"),
        ("vit_tiny_patch16_244", "is it timm/.*vit_tiny_patch16_224"),
        ("vit_small_patch14_dinov2.lvd", "is it timm/vit_small_patch14_dinov2.lvd142m"),
        ("", "has no model ''"),
        ("hf-hub:timm/resnet10t", "has no model 'hf-hub:timm/resnet10t'"),
        ("levit_128", r"cannot be the backbone for images of 64 x 32 pixels: its BatchNorm .* one row per image"),
        ("pit_ti_224", "gives class tokens alone"),
        ("coat_tiny", "Only token or avg pooling is supported"),
        (
            "convit_tiny",
            "timm/convit_tiny cannot be the backbone for images of 64 x 32 pixels: .*expanded size of the tensor",
        ),
    ],
)
def test_model_that_cannot_serve_is_named_with_the_reason(name, match):
    with pytest.raises(UserError, match=match) as caught:
        build(f"timm/{name}", image_size=SIZE)
    assert "\n" not in str(caught.value)


def test_names_of_timm_have_a_prefix():
    assert is_timm("timm/resnet50")
    assert not is_timm("resnet50")
    with pytest.raises(UserError, match=r"one of resnet18, .* or timm/<name>, got 'vit_tiny_patch16_224'"):
        build("vit_tiny_patch16_224")
