"""Position embeddings of a ViT in a file, brought to the patches of a model whatever the shape of the file's images.

A file tells the number of its positions and not the height and width of its grid. A square number is taken for a
square; else the grid is the one whose ratio of height to width is nearest to that of the model's.

Shapes: (1, t + h w, C): t positions of tokens before the patches, or none, then those of h x w patches, row by row.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

NAME = "pos_embed"
CLASS_POSITION = "cls_pos"  # where it is kept apart from those of the patches
_TOKENS = re.compile(r"(cls|dist|reg|part)_?tokens?_?\d*")


def with_fitting_positions(
    model: nn.Module, published: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """`tensors` with position embeddings for the patches of a model of timm; as they are where they have its shape.

    Args:
        model: has `pos_embed` and `patch_embed.grid_size`, else nothing is done.
        published: all of the file, with the tokens that it has.
        tensors: those that are going to be loaded.
    """
    own, old = getattr(model, NAME, None), published.get(NAME)
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if not isinstance(own, Tensor) or old is None or grid is None or old.shape == own.shape or old.ndim != 3:
        return dict(tensors)
    patches = grid[0] * grid[1]
    prefix = own.shape[1] - patches  # of the model: its class token
    tokens = sum(x.shape[1] for name, x in published.items() if _TOKENS.fullmatch(name) and x.ndim == 3)
    apart = published.get(CLASS_POSITION)
    if prefix == 1 and apart is not None and apart.ndim == 3:
        first, rest = apart, old
    else:
        first, rest = old[:, :prefix], old[:, max(tokens, prefix) :]
    if first.shape[1] != prefix or not rest.shape[1]:
        return dict(tensors)
    rest = _resized(rest, _grid_of(rest.shape[1], like=grid), grid)
    return {**tensors, NAME: torch.cat([first.to(rest.dtype), rest], dim=1)}


def _grid_of(patches: int, *, like: tuple[int, int]) -> tuple[int, int]:
    """(h, w) with h w = `patches`."""
    side = math.isqrt(patches)
    if side * side == patches:
        return side, side
    heights = [height for height in range(patches, 0, -1) if patches % height == 0]
    ratio = math.log(like[0] / like[1])
    # Rounded, so that of two that are as near the higher one is taken: people stand.
    height = min(heights, key=lambda height: round(abs(math.log(height * height / patches) - ratio), 6))
    return height, patches // height


def _resized(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    from timm.layers.pos_embed import resample_abs_pos_embed

    if old == tuple(new):
        return positions
    return resample_abs_pos_embed(positions, new_size=list(new), old_size=list(old), num_prefix_tokens=0)
