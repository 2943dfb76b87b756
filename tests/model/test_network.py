"""The whole network: shapes, unit length, neck, initial values, a training step of each backbone."""

import copy

import pytest
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.model import BACKBONES, POOLINGS, build, commit_statistics_
from pipeline.model.batchnorm import GroupedBatchNorm1d, GroupedBatchNorm2d

THIN = "resnet10_w32"


def images(batch=4, height=32, width=16, seed=0):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def train_step(network, *, batch=4):
    """One step of Adam on a contrast of two halves; the loss."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    embeddings = network(images(batch))
    loss = (embeddings @ embeddings.detach().flip(0).T).diagonal().mean()
    loss.backward()
    optimizer.step()
    commit_statistics_(network)
    return loss


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbone_builds_and_trains_a_step(backbone):
    torch.manual_seed(0)
    network = build(backbone, bn_group=2)
    before = copy.deepcopy(network.state_dict())
    assert torch.isfinite(train_step(network))
    frozen = {"neck.bias"}
    for name, tensor in network.state_dict().items():
        assert torch.isfinite(tensor).all(), name
        assert torch.equal(tensor, before[name]) == (name in frozen), name
    with torch.no_grad():
        embeddings = network.eval()(images(3))
    assert embeddings.shape == (3, network.num_features)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("features", [0, 24])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_and_embedding_train_a_step(pooling, features):
    torch.manual_seed(0)
    network = build(THIN, pooling=pooling, features=features)
    train_step(network)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.requires_grad)
    assert network.num_features == (features or 256)
    for mode in (True, False):
        embeddings = network.train(mode)(images())
        assert embeddings.shape == (4, network.num_features)
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


def test_forward_is_backbone_pooling_embedding_neck_length():
    torch.manual_seed(0)
    network = build(THIN, features=8).eval()
    with torch.no_grad():
        network.neck.running_mean.uniform_(-1, 1)
        network.neck.weight.uniform_(0.5, 2)
        pooled = network.backbone(images()).mean(dim=(2, 3)) @ network.embedding.weight.T
        neck = (pooled - network.neck.running_mean) / (1 + 1e-5) ** 0.5 * network.neck.weight
        torch.testing.assert_close(network(images()), neck / neck.norm(dim=1, keepdim=True))


def test_neck_starts_at_one_and_its_bias_stays_at_zero():
    neck = build(THIN).neck
    assert torch.equal(neck.weight, torch.ones(256))
    assert torch.equal(neck.bias, torch.zeros(256))
    assert neck.weight.requires_grad
    assert not neck.bias.requires_grad


def test_embedding_starts_kaiming_fan_out():
    torch.manual_seed(0)
    embedding = build(THIN, features=64).embedding
    assert embedding.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)


@pytest.mark.parametrize("backbone", [THIN, "resnet_ibn50a"])
def test_every_batchnorm_is_grouped(backbone):
    with torch.device("meta"):
        network = build(backbone, bn_group=64)
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert all(isinstance(layer, GroupedBatchNorm1d | GroupedBatchNorm2d) for layer in layers)
    assert all(layer.group_size == 64 for layer in layers)
    plain = {THIN: 13, "resnet_ibn50a": 54}[backbone]
    assert len(layers) == plain


def test_groups_are_independent_of_each_other():
    torch.manual_seed(0)
    network = build(THIN, bn_group=4)
    whole = network(images(8))
    torch.testing.assert_close(whole[:4], network(images(8)[:4]))
    torch.testing.assert_close(whole[4:], network(images(8)[4:]))


@pytest.mark.parametrize("backbone", [THIN, "resnet18"])
def test_initial_values_follow_the_global_generator(backbone):
    networks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        networks.append(build(backbone, features=16).state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
    assert not torch.equal(networks[0]["backbone.conv1.weight"], networks[2]["backbone.conv1.weight"])


def test_training_step_is_deterministic():
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        network = build(THIN, bn_group=2)
        losses.append((train_step(network).item(), network(images()).detach()))
    assert losses[0][0] == losses[1][0]
    assert torch.equal(losses[0][1], losses[1][1])


def bf16(tensor):
    """The tensor, with every value rounded to bf16, in its own type."""
    return tensor.bfloat16().to(tensor.dtype)


def rounded_to_bf16(network):
    """A copy in double precision whose backbone rounds what bf16 has to round: weights, and what each layer gives."""
    copied = copy.deepcopy(network).double()
    for layer in copied.backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = bf16(layer.weight.data)
        if not list(layer.children()):
            layer.register_forward_hook(lambda _layer, _inputs, output: bf16(output))
    return copied


@pytest.mark.parametrize("backbone", [THIN, "resnet_ibn50a"])
def test_autocast_gives_float32_as_near_the_exact_result_as_bf16_can_be(backbone):
    torch.manual_seed(0)
    network = build(backbone, features=32, bn_group=4).eval()
    # Maps that end at 4 x 2, as instance normalisation of two values blows any rounding up.
    batch = images(height=64)
    with torch.no_grad():
        exact = copy.deepcopy(network).double()(batch.double())
        rounding = (rounded_to_bf16(network)(bf16(batch.double())) - exact).norm()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = network(batch)
    assert low.dtype == torch.float32
    # How a sum of products is rounded on its way differs from processor to processor; how large the error is, does not.
    assert rounding / 4 < (low - exact).norm() < 4 * rounding
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network.train()(images())[:, 0].sum()
    loss.backward()
    assert torch.isfinite(network.backbone.conv1.weight.grad).all()


def test_channels_last_gives_the_same():
    torch.manual_seed(0)
    network = build(THIN, bn_group=2)
    expected = network(images())
    last = network.to(memory_format=torch.channels_last)(images().to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("features", [0, 8])
def test_network_can_be_exported_with_a_dynamic_batch(features):
    torch.manual_seed(0)
    network = build(THIN, features=features, bn_group=64).eval()
    batch = torch.export.Dim("batch", min=1, max=512)
    program = torch.export.export(network, (images(2),), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images(5)), network(images(5)))


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"backbone must be one of resnet18, .*, got 'resnet20'"):
        build("resnet20")
    with pytest.raises(ValueError, match=r"pooling must be one of avg, gem, max, avg\+max, token, clip, got 'mean'"):
        build(THIN, pooling="mean")
    with pytest.raises(ValueError, match=r"features must be 0 .*, got -1"):
        build(THIN, features=-1)
    with pytest.raises(ValueError, match="bn_group must be at least 2 images, got 1"):
        build(THIN, bn_group=1)
    with pytest.raises(ValueError, match="multiple of group_size 2, got 3 images"):
        build(THIN, bn_group=2)(images(3))
