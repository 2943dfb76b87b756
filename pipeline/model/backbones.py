"""The residual networks that a model can be built on: one row per name. What a row stands for: see `trunk.py`.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; IBN-a: see `ibn.py`.

Published weights: torchvision's IMAGENET1K_V1 (`imagenet`) and those of the IBN-Net release; torchvision's V2
(`imagenet_v2`) raised mAP in 3C (arXiv 2408.09464), but give near-identical images low cosine similarities
(pytorch/vision#8382).
"""

from dataclasses import dataclass
from typing import Literal

IBN_NET = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0"
STANDARD_WIDTH = 64  # channels of the stem and of the first stage in torchvision's definition


@dataclass(frozen=True)
class Backbone:
    """A residual network.

    Attributes:
        block: residual block, by torchvision's name.
        layers: blocks in each of the four stages.
        weights: its published ImageNet weights: a URL whose name ends in the start of their SHA-256, or torchvision's
            name of them; None = none.
        weights_v2: likewise, of those that torchvision trained by its newer recipe.
        width: channels of the first stage.
        ibn: with IBN-a.
    """

    block: Literal["BasicBlock", "Bottleneck"]
    layers: tuple[int, int, int, int]
    weights: str | None = None
    weights_v2: str | None = None
    width: int = STANDARD_WIDTH
    ibn: bool = False


BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone("BasicBlock", (2, 2, 2, 2), "ResNet18_Weights.IMAGENET1K_V1"),
    "resnet34": Backbone("BasicBlock", (3, 4, 6, 3), "ResNet34_Weights.IMAGENET1K_V1"),
    "resnet50": Backbone(
        "Bottleneck", (3, 4, 6, 3), "ResNet50_Weights.IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V2"
    ),
    "resnet101": Backbone(
        "Bottleneck", (3, 4, 23, 3), "ResNet101_Weights.IMAGENET1K_V1", "ResNet101_Weights.IMAGENET1K_V2"
    ),
    "resnet152": Backbone(
        "Bottleneck", (3, 8, 36, 3), "ResNet152_Weights.IMAGENET1K_V1", "ResNet152_Weights.IMAGENET1K_V2"
    ),
    "resnet_ibn50a": Backbone("Bottleneck", (3, 4, 6, 3), f"{IBN_NET}/resnet50_ibn_a-d9d0bb7b.pth", ibn=True),
    "resnet_ibn101a": Backbone("Bottleneck", (3, 4, 23, 3), f"{IBN_NET}/resnet101_ibn_a-59ea0ac6.pth", ibn=True),
    # Ours, for demonstrations on a CPU: nobody published weights for them.
    "resnet10": Backbone("BasicBlock", (1, 1, 1, 1)),
    "resnet10_w32": Backbone("BasicBlock", (1, 1, 1, 1), width=32),
    "resnet18_w32": Backbone("BasicBlock", (2, 2, 2, 2), width=32),
}


def url_of(weights: str) -> str:
    """The URL of published weights that a row of `BACKBONES` names."""
    if "://" in weights:
        return weights
    from torchvision.models import get_weight  # here: more than a second

    return str(get_weight(weights).url)
