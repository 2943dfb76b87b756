"""The residual networks that a model can be built on: one row per name, and the trunk that a name stands for.

Torchvision's ResNet is used as it is, with three changes made where it builds its stages: the last stage keeps its
resolution (stride 1 instead of 2, as usual in re-identification: Luo et al., "Bag of Tricks and a Strong Baseline for
Deep Person Re-identification", CVPR Workshops 2019), all stages can be thinner, and the classifier is left out.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; IBN-a: see `ibn.py`.

Published weights: torchvision's IMAGENET1K_V1 (`imagenet`) and those of the IBN-Net release; torchvision's V2
(`imagenet_v2`) raised mAP in 3C (arXiv 2408.09464), but give near-identical images low cosine similarities
(pytorch/vision#8382).

Shapes: (B, 3, H, W) -> (B, C, H / 16, W / 16), rounded up; C = `num_features`.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torchvision.models.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    ResNet152_Weights,
)

from pipeline.model.ibn import NormLayer, insert_ibn_
from pipeline.model.normalization import IMAGENET, Renormalize, Statistics

IBN_NET = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0"
STANDARD_WIDTH = 64  # channels of the stem and of the first stage in torchvision's definition


@dataclass(frozen=True)
class Backbone:
    """A residual network.

    Attributes:
        block: residual block.
        layers: blocks in each of the four stages.
        weights: URL of its published ImageNet weights, whose name ends in the start of their SHA-256; None = none.
        weights_v2: likewise, of those that torchvision trained by its newer recipe.
        width: channels of the first stage.
        ibn: with IBN-a.
    """

    block: type[BasicBlock] | type[Bottleneck]
    layers: tuple[int, int, int, int]
    weights: str | None = None
    weights_v2: str | None = None
    width: int = STANDARD_WIDTH
    ibn: bool = False


BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone(BasicBlock, (2, 2, 2, 2), ResNet18_Weights.IMAGENET1K_V1.url),
    "resnet34": Backbone(BasicBlock, (3, 4, 6, 3), ResNet34_Weights.IMAGENET1K_V1.url),
    "resnet50": Backbone(
        Bottleneck, (3, 4, 6, 3), ResNet50_Weights.IMAGENET1K_V1.url, ResNet50_Weights.IMAGENET1K_V2.url
    ),
    "resnet101": Backbone(
        Bottleneck, (3, 4, 23, 3), ResNet101_Weights.IMAGENET1K_V1.url, ResNet101_Weights.IMAGENET1K_V2.url
    ),
    "resnet152": Backbone(
        Bottleneck, (3, 8, 36, 3), ResNet152_Weights.IMAGENET1K_V1.url, ResNet152_Weights.IMAGENET1K_V2.url
    ),
    "resnet_ibn50a": Backbone(Bottleneck, (3, 4, 6, 3), f"{IBN_NET}/resnet50_ibn_a-d9d0bb7b.pth", ibn=True),
    "resnet_ibn101a": Backbone(Bottleneck, (3, 4, 23, 3), f"{IBN_NET}/resnet101_ibn_a-59ea0ac6.pth", ibn=True),
    # Ours, for demonstrations on a CPU: nobody published weights for them.
    "resnet10": Backbone(BasicBlock, (1, 1, 1, 1)),
    "resnet10_w32": Backbone(BasicBlock, (1, 1, 1, 1), width=32),
    "resnet18_w32": Backbone(BasicBlock, (2, 2, 2, 2), width=32),
}


class Trunk(ResNet):
    """A ResNet without pooling and classifier, randomly initialized (convolutions Kaiming fan-out)."""

    def __init__(self, backbone: Backbone, *, norm_layer: NormLayer, statistics: Statistics = IMAGENET) -> None:
        """
        Args:
            backbone: a row of `BACKBONES`.
            norm_layer: makes a batch normalization for a number of channels.
            statistics: that images are normalised by.
        """
        self.width = backbone.width
        # The one class is soon thrown away; torchvision initialises the convolutions by Kaiming fan-out.
        super().__init__(backbone.block, list(backbone.layers), num_classes=1, norm_layer=norm_layer)
        self.num_features: int = self.inplanes
        del self.avgpool, self.fc
        if self.width != STANDARD_WIDTH:
            self.conv1 = nn.Conv2d(3, self.width, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.bn1 = norm_layer(self.width)
        if backbone.ibn:
            insert_ibn_(self, norm_layer=norm_layer)
        self.renormalize = Renormalize(statistics)

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.renormalize(images)))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def _make_layer(self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> Any:
        """Torchvision's builder of a stage, called by its constructor with planes 64, 128, 256 and 512."""
        if planes == STANDARD_WIDTH:
            self.inplanes = self.width  # what the stem hands over
        if planes == 8 * STANDARD_WIDTH:
            stride = 1
        return super()._make_layer(block, planes * self.width // STANDARD_WIDTH, blocks, stride, dilate)
