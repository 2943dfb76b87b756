"""The network that student and teacher share: backbone, pooling, embedding, neck, unit length.

Source: He et al., "Dynamic Clustering and Cluster Contrastive Learning for Unsupervised Person Re-ID with Feature
Distribution Alignment", ICASSP 2024; the neck is that of Luo et al., "Bag of Tricks and a Strong Baseline for Deep
Person Re-identification", CVPR Workshops 2019.

Shapes: B images, D = `num_features`, the width of the output.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.model.backbones import BACKBONES
from pipeline.model.batchnorm import GroupedBatchNorm1d, GroupedBatchNorm2d
from pipeline.model.drop_path import no_drop_path
from pipeline.model.freezing import freeze_
from pipeline.model.narrow_maps import guard_
from pipeline.model.normalization import IMAGENET, STATISTICS
from pipeline.model.pooling import POOLINGS, TOKEN_POOLINGS, TokenPool, no_class_token
from pipeline.model.timm_backbones import PREFIX, Output, TimmTrunk, is_timm
from pipeline.model.weights import LoadedWeights, load_weights_

if TYPE_CHECKING:
    from pipeline.model.trunk import Trunk


def build(
    backbone: str,
    *,
    pooling: str = "avg",
    features: int = 0,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    bn_group: int | None = None,
    freeze: Sequence[str] = (),
    drop_path: float = 0.0,
    normalize: str = "backbone",
    image_size: tuple[int, int] | None = None,
) -> "Network":
    """Builds a network, by torch's global generator, and loads weights into it.

    Args:
        backbone: a name of `BACKBONES`, or `timm/<name>` with a name of timm's.
        pooling: avg, gem, max or avg+max; of a ViT also its class token (token), or that before and behind the
            projection of a CLIP model, one after the other (clip).
        features: width of the linear embedding, 0 = none.
        weights: a state dict or a file of one (see `weights.load_weights_`): of the backbone alone, or of a whole
            network of this project. None = random.
        bn_group: images that share the statistics of BatchNorm in train mode; None = the batch of the process.
        freeze: parts of the backbone that are not trained, see `freezing.freeze_`.
        drop_path: rate of stochastic depth, for a timm model that has it.
        normalize: the statistics that images are normalised by: imagenet, luperson, or those of the backbone's
            published weights (backbone).
        image_size: H and W of the images, which most ViTs are built for; `BACKBONES` take any. None: a timm model is
            built for the images of its published weights.

    Raises:
        UserError: unknown backbone, a part to freeze, class token, projection or stochastic depth that it does not
            have, or weights that do not fit.
        ValueError: another argument is out of its range.
    """
    if backbone not in BACKBONES and not is_timm(backbone):
        raise UserError(f"backbone must be one of {', '.join(BACKBONES)} or {PREFIX}<name>, got {backbone!r}")
    if pooling not in (*POOLINGS, *TOKEN_POOLINGS):
        raise ValueError(f"pooling must be one of {', '.join((*POOLINGS, *TOKEN_POOLINGS))}, got {pooling!r}")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path must be at least 0 and less than 1, got {drop_path}")
    if normalize not in ("backbone", *STATISTICS):
        raise ValueError(f"normalize must be one of backbone, {', '.join(STATISTICS)}, got {normalize!r}")
    if features < 0:
        raise ValueError(f"features must be 0 (no embedding) or the width of the embedding, got {features}")
    if bn_group is not None and bn_group < 2:
        raise ValueError(f"bn_group must be at least 2 images, got {bn_group}")
    trunk = _trunk(
        backbone, pooling=pooling, drop_path=drop_path, normalize=normalize, image_size=image_size, bn_group=bn_group
    )
    freeze_(trunk.timm if isinstance(trunk, TimmTrunk) else trunk, freeze, backbone=backbone)
    network = Network(trunk, pooling=pooling, features=features, bn_group=bn_group)
    guard_(network)
    if weights is not None:
        network.loaded = load_weights_(network, weights)
    return network


class Network(nn.Module):
    """Images to embeddings of unit length, in training and in evaluation."""

    loaded: LoadedWeights | None = None  # what its starting weights were, where `build` has loaded some

    def __init__(self, trunk: "Trunk | TimmTrunk", *, pooling: str, features: int, bn_group: int | None) -> None:
        super().__init__()
        self.backbone = trunk
        self.pool = TokenPool() if pooling in TOKEN_POOLINGS else POOLINGS[pooling]()
        self.num_features: int = features or self.backbone.num_features
        self.embedding: nn.Linear | None = None
        if features:
            # No bias: the neck takes the mean away again.
            self.embedding = nn.Linear(self.backbone.num_features, features, bias=False)
            nn.init.kaiming_normal_(self.embedding.weight, mode="fan_out")
        self.neck = GroupedBatchNorm1d(self.num_features, group_size=bn_group)
        self.neck.bias.requires_grad_(False)

    def require_fitting_images(self) -> None:
        """Raises a UserError where the network would not see a part of the images that it was built for."""
        if isinstance(self.backbone, TimmTrunk):
            self.backbone.require_whole_patches()

    def forward(self, images: Tensor) -> Tensor:
        """
        Args:
            images: (B, 3, H, W) float, normalized by the ImageNet statistics.

        Returns:
            (B, D), rows of length 1, float32 also under autocast.
        """
        return self.head(self.backbone(images))

    def head(self, maps: Tensor) -> Tensor:
        """Embeddings (B, D) of the backbone's feature maps (B, C, H', W')."""
        pooled = self.pool(maps)  # (B, C)
        if self.embedding is not None:
            with torch.autocast(pooled.device.type, enabled=False):
                pooled = self.embedding(pooled)  # (B, D)
        return F.normalize(self.neck(pooled), dim=1)


def _trunk(
    backbone: str,
    *,
    pooling: str,
    drop_path: float,
    normalize: str,
    image_size: tuple[int, int] | None,
    bn_group: int | None,
) -> "Trunk | TimmTrunk":
    """What the backbone's name stands for, randomly initialized; the arguments are those of `build`."""
    statistics = STATISTICS.get(normalize)
    if is_timm(backbone):
        return TimmTrunk(
            backbone,
            image_size=image_size,
            group_size=bn_group,
            output=cast(Output, pooling) if pooling in TOKEN_POOLINGS else "maps",
            drop_path=drop_path,
            statistics=statistics,
        )
    if pooling in TOKEN_POOLINGS:
        raise no_class_token(backbone, pooling)
    if drop_path:
        raise no_drop_path(backbone)
    from pipeline.model.trunk import Trunk  # here: torchvision takes more than a second

    norm_layer = partial(GroupedBatchNorm2d, group_size=bn_group)
    return Trunk(BACKBONES[backbone], norm_layer=norm_layer, statistics=statistics or IMAGENET)
