"""The trunk that a row of `BACKBONES` stands for: from images to feature maps.

Torchvision's ResNet is used as it is, with three changes made where it builds its stages: the last stage keeps its
resolution (stride 1 instead of 2, as usual in re-identification: Luo et al., "Bag of Tricks and a Strong Baseline for
Deep Person Re-identification", CVPR Workshops 2019), all stages can be thinner, and the classifier is left out.

Shapes: (B, 3, H, W) -> (B, C, H / 16, W / 16), rounded up; C = `num_features`.
"""

from typing import Any

from torch import Tensor, nn
from torchvision.models import resnet

from pipeline.model.backbones import STANDARD_WIDTH, Backbone
from pipeline.model.ibn import NormLayer, insert_ibn_
from pipeline.model.normalization import IMAGENET, Renormalize, Statistics


class Trunk(resnet.ResNet):
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
        super().__init__(getattr(resnet, backbone.block), list(backbone.layers), num_classes=1, norm_layer=norm_layer)
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
