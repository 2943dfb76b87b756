"""Stochastic depth whose random choices are given to it.

In training, a residual branch is left out for some of the images, and its output scaled up for the others. A layer that
draws by torch's generator would draw something else in another process, or after an interruption. So the choices are
drawn outside, by a generator of this step and this group of images, and handed to the layers before a forward pass.

A network that is given none keeps all paths: in eval mode, and the teacher, whose embeddings are targets.

Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016; per image as in timm.

Legend: g images of a group, L layers.
"""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError


class DropPath(nn.Module):
    """Multiplies the rows of a branch, (g, ...), by the factors that it was given."""

    def __init__(self, rate: float, *, scale: bool = True) -> None:
        """
        Args:
            rate: share of the images without this branch, in [0, 1).
            scale: divide the others by 1 - rate.
        """
        super().__init__()
        self.rate, self.kept = rate, 1 / (1 - rate) if scale else 1.0
        self.factors: Tensor | None = None  # (g,)

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.factors is None:
            return branch
        return branch * self.factors.to(branch.dtype).view(-1, *[1] * (branch.ndim - 1))

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


def drop_paths(model: nn.Module) -> list[DropPath]:
    """The L layers of a model, in its order."""
    return [module for module in model.modules() if isinstance(module, DropPath)]


def draw_factors(model: nn.Module, images: int, generator: np.random.Generator) -> Tensor:
    """(L, g) float32 for g images, on the CPU: 0 where a path is dropped."""
    layers = drop_paths(model)
    rates = np.array([layer.rate for layer in layers])[:, None]
    kept = np.array([layer.kept for layer in layers])[:, None]
    return torch.from_numpy(np.where(generator.random((len(layers), images)) < rates, 0.0, kept).astype(np.float32))


def give_factors_(model: nn.Module, factors: Tensor | None) -> None:
    """Hands the rows of `factors` (L, g) to the layers, for the passes that follow; None: all paths are kept."""
    for place, layer in enumerate(drop_paths(model)):
        layer.factors = None if factors is None else factors[place]


def replace_drop_paths_(model: nn.Module, *, kept: bool) -> None:
    """Puts a `DropPath` in the place of each of timm's, with its rate; where they are not `kept`, they drop nothing."""
    from timm.layers.drop import DropPath as TimmDropPath

    found = [(name, module) for name, module in model.named_modules() if isinstance(module, TimmDropPath)]
    for name, module in found:
        if not kept:
            module.drop_prob = 0.0
        elif module.drop_prob:
            model.set_submodule(name, DropPath(float(module.drop_prob), scale=module.scale_by_keep))


def no_drop_path(backbone: str) -> UserError:
    """What to tell whoever asks for stochastic depth where there is none."""
    return UserError(f"model.drop_path: {backbone} has no stochastic depth", "set it to 0, or take another backbone")
