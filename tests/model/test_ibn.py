"""IBN-a: instance norm on the first half of the channels, batch norm on the rest."""

import pytest
import torch
from torch import nn

from pipeline.model.ibn import IBN


@pytest.mark.parametrize("num_features", [6, 7])
def test_ibn_normalizes_each_half_in_its_way(num_features):
    torch.manual_seed(0)
    x = torch.randn(4, num_features, 5, 3) * 2 + 1
    y = IBN(num_features, norm_layer=nn.BatchNorm2d)(x)
    half = num_features // 2
    instance, batch = x[:, :half], x[:, half:]
    centred = instance - instance.mean(dim=(2, 3), keepdim=True)
    expected = centred / (instance.var(dim=(2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(y[:, :half], expected)
    centred = batch - batch.mean(dim=(0, 2, 3), keepdim=True)
    expected = centred / (batch.var(dim=(0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(y[:, half:], expected)


def test_ibn_keeps_the_layout_channels_last():
    torch.manual_seed(0)
    layer = IBN(8, norm_layer=nn.BatchNorm2d)
    x = torch.randn(4, 8, 5, 3)
    y = layer(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert layer(x).is_contiguous()
    torch.testing.assert_close(y, layer(x))


def test_ibn_in_eval_mode_treats_every_image_by_itself():
    torch.manual_seed(0)
    layer = IBN(8, norm_layer=nn.BatchNorm2d).eval()
    x = torch.randn(4, 8, 5, 3)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))
