"""The convolution stem of TransReID-SSL's ViT-S: its shapes, its norms, and what an embedder and a file make of it."""

import pytest
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.model import build
from pipeline.model.batchnorm import GroupedBatchNorm2d
from pipeline.model.ibn import IBN
from pipeline.model.ics import ConvolutionStem
from pipeline.model.normalization import LUPERSON
from pipeline.model.placing_weights import weights_file

NAME = "timm/vit_small_ics"


def test_stem_halves_the_resolution_before_the_patches_are_projected() -> None:
    torch.manual_seed(0)
    stem = ConvolutionStem(img_size=(64, 32), embed_dim=24)
    images = torch.randn(2, 3, 64, 32)
    maps = stem.conv(images)
    assert maps.shape == (2, 64, 32, 16)
    assert stem(images).shape == (2, 4 * 2, 24)
    norms = [type(module) for module in stem.conv if isinstance(module, IBN | nn.BatchNorm2d)]
    assert norms == [IBN, IBN, nn.BatchNorm2d]
    # The fourth patch is that of the second row and column.
    patch = stem.proj.weight.flatten(1) @ maps[0, :, 8:16, 8:16].flatten() + stem.proj.bias
    torch.testing.assert_close(stem(images)[0, 3], patch, atol=1e-4, rtol=1e-4)


def test_network_has_the_size_of_a_vit_s_and_luperson_statistics() -> None:
    with torch.device("meta"):
        network = build(NAME, pooling="token", image_size=(256, 128), bn_group=4, drop_path=0.1)
    assert network.num_features == 384 and network.backbone.timm.pos_embed.shape == (1, 1 + 128, 384)
    norms = [m for m in network.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 3 and all(isinstance(m, GroupedBatchNorm2d) and m.group_size == 4 for m in norms)
    # ViT-S/16 has 22.05 M with its classifier; the stem has 7 x 7 x 3, twice 3 x 3 x 64, and patches of 8 x 8 x 64.
    vit_s = 22_050_664 - 385_000 - (197 - 129) * 384 - 384 * 16 * 16 * 3
    stem = 64 * (147 + 2 * 576) + 3 * 128 + 384 * 64 * 64
    assert sum(p.numel() for p in network.backbone.parameters()) == vit_s + stem
    renormalize = build("resnet10_w32", normalize="luperson").backbone.renormalize
    ours = build(NAME, image_size=(32, 16)).backbone.renormalize
    assert torch.equal(ours.scale, renormalize.scale) and torch.equal(ours.shift, renormalize.shift)
    assert LUPERSON[0] == (0.3525, 0.3106, 0.3140)


def test_its_weights_are_a_file_of_the_users(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="nobody published weights of timm/vit_small_ics: use `pretrained: none`, or a"):
        weights_file("imagenet", backbone=NAME, size=(32, 16), downloads=tmp_path, checkout=tmp_path)
