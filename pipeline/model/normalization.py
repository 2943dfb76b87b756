"""The statistics of colours that images are normalised by, where they are not ImageNet's.

Images arrive normalised by ImageNet's mean and standard deviation, whatever the network (`datasets/augment.py`). A
network that was trained with others brings them to its own: (x std + mean - its mean) / its std. That is part of the
network, so a model file, an ONNX file and a search do the same.

Source of LUPerson's: Fu et al., "Unsupervised Pre-training for Person Re-identification", CVPR 2021, as those who
publish weights of it state them.

Shapes: (B, 3, H, W) -> (B, 3, H, W).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.common.imagenet import IMAGENET_MEAN, IMAGENET_STD

Statistics = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of red, green, blue in [0, 1]
IMAGENET: Statistics = (IMAGENET_MEAN, IMAGENET_STD)
LUPERSON: Statistics = ((0.3525, 0.3106, 0.3140), (0.2660, 0.2522, 0.2505))
STATISTICS: Mapping[str, Statistics] = {"imagenet": IMAGENET, "luperson": LUPERSON}


class Renormalize(nn.Module):
    """From ImageNet's statistics to others; without parameters, and nothing of it is in a state dict."""

    scale: Tensor
    shift: Tensor

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        std, mean = torch.tensor(IMAGENET_STD), torch.tensor(IMAGENET_MEAN)
        own_mean, own_std = (torch.tensor(tuple(values)) for values in statistics)
        self._same = tuple(map(tuple, statistics)) == tuple(map(tuple, IMAGENET))
        self.register_buffer("scale", (std / own_std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - own_mean) / own_std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images if self._same else images * self.scale + self.shift
