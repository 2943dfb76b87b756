"""Global pooling of feature maps to one vector per image.

The result is float32 or wider whatever autocast made of the maps: an average kept in bfloat16 would have three
significant digits.

Source: generalized mean: Radenović, Tolias & Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation",
TPAMI 2019.

Shapes: (B, C, H, W) -> (B, C); H = W = 1 for a class token.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError


class AveragePool(nn.Module):
    """Mean over all positions."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))


class MaxPool(nn.Module):
    """Maximum over all positions."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.amax(dim=(2, 3)).to(torch.promote_types(maps.dtype, torch.float32))


class AverageMaxPool(nn.Module):
    """Mean plus maximum over all positions."""

    def __init__(self) -> None:
        super().__init__()
        self.average = AveragePool()
        self.maximum = MaxPool()

    def forward(self, maps: Tensor) -> Tensor:
        return self.average(maps) + self.maximum(maps)


class GeneralizedMeanPool(nn.Module):
    """(mean of x^p)^(1/p) with one learned p: 1 is the mean, infinity the maximum; it starts at 3."""

    def __init__(self, *, p: float = 3.0, floor: float = 1e-6) -> None:
        """
        Args:
            p: exponent to start from.
            floor: smaller activations count as this one, so that the power and its gradient are finite.
        """
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))
        self.floor = floor

    def forward(self, maps: Tensor) -> Tensor:
        powers = maps.to(self.p.dtype).clamp(min=self.floor).pow(self.p)
        return powers.mean(dim=(2, 3)).pow(1 / self.p)


class TokenPool(nn.Module):
    """The one place of the maps that a trunk makes of a class token."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.flatten(1).to(torch.promote_types(maps.dtype, torch.float32))


POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "avg": AveragePool,
    "gem": GeneralizedMeanPool,
    "max": MaxPool,
    "avg+max": AverageMaxPool,
}
# Of a ViT, in place of its patch tokens: the class token, alone or before and behind CLIP's projection.
TOKEN_POOLINGS = ("token", "clip")


def no_class_token(backbone: str, pooling: str) -> UserError:
    """What to tell whoever asks for the class token of a network without one."""
    return UserError(
        f"model.pooling: {pooling} needs a ViT with a class token, and {backbone} has none",
        "use avg, gem, max or avg+max",
    )
