"""A folded network computes what the network computes."""

import pytest
import torch

from pipeline.model import build
from pipeline.model.folded import folded, for_inference

IMAGES = (3, 3, 32, 16)


def network(backbone: str, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """In eval mode, with statistics and scales that are not those of its first day."""
    torch.manual_seed(1)
    made = build(backbone, pooling="gem", features=12, bn_group=8).to(dtype).eval()
    with torch.no_grad():
        for name, tensor in [*made.named_parameters(), *made.named_buffers()]:
            if "running_var" in name or (tensor.dim() == 1 and name.endswith("weight")):
                tensor.uniform_(0.5, 2)
            elif "running_mean" in name or name.endswith("bias"):
                tensor.normal_()
    return made


@pytest.mark.parametrize("backbone", ["resnet10_w32", "resnet50", "resnet_ibn50a"])
def test_folded_is_the_network(backbone: str) -> None:
    made = network(backbone)
    images = torch.randn(IMAGES, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(made)(images), made(images), rtol=1e-12, atol=1e-12)


def test_weights_of_now_are_folded() -> None:
    made = network("resnet10_w32")
    before = folded(made)
    with torch.no_grad():
        made.get_parameter("backbone.layer4.0.conv2.weight").neg_()
        images = torch.randn(IMAGES, dtype=torch.float64)
        torch.testing.assert_close(folded(made)(images), made(images))
        assert not torch.allclose(before(images), made(images))


def test_nothing_is_folded_on_a_cpu() -> None:
    made = network("resnet10_w32", torch.float32)
    assert for_inference(made) is made
