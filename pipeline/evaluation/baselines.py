"""What a training has to beat: its network before the first step, and what a colour histogram finds.

Stripes follow Gray & Tao, Viewpoint Invariant Pedestrian Recognition, ECCV 2008 (head, torso, legs each have their
colours); the square root makes the cosine of two histograms their Bhattacharyya coefficient.

Shapes: images (N, H, W, 3) uint8, features (N, D) with D = stripes * bins^3.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import UserError
from pipeline.common.seeding import seed_everything
from pipeline.evaluation.test_set import Embed
from pipeline.model.embedding import embed_shown
from pipeline.model.saved import build_of

# Images are read a few at a time, so that a memory-mapped store stays on disk.
CHUNK_IMAGES = 256


def baselines(settings: Mapping[str, Any], *, weights: Path | None) -> dict[str, Embed]:
    """Name -> function of (images, title) that gives features, without any training on these images.

    Args:
        settings: of the training: its seed, and what its network is built from.
        weights: that it started from, None for random ones: then there is no `pretrained`.

    Raises:
        UserError: the weights do not fit the network.
    """
    seed_everything(settings["seed"])
    networks = {"untrained": build_of(settings)}
    if weights is not None:
        networks["pretrained"] = build_of(settings, weights=weights)
    found: dict[str, Embed] = {name: partial(embed_shown, network) for name, network in networks.items()}
    return found | {"colour_histogram": lambda images, _: colour_histogram(images)}


def colour_histogram(images: NDArray[np.uint8], *, stripes: int = 6, bins: int = 8) -> NDArray[np.float32]:
    """Square roots of the joint RGB histograms of horizontal stripes, every row of length 1.

    Args:
        images: (N, H, W, 3) uint8, a memory map too.
        stripes: number of stripes of equal height (to within one line), from 1 to H.
        bins: bins of equal width per channel, from 2 to 256.

    Returns:
        (N, stripes * bins^3) float32; entries are not negative.

    Raises:
        UserError: images of another shape or type, or a setting out of its range.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise UserError(f"images must be (images, height, width, 3) uint8, got {images.dtype} of shape {images.shape}")
    if not 1 <= stripes <= images.shape[1]:
        raise UserError(f"stripes must be from 1 to the image height {images.shape[1]}, got {stripes}")
    if not 2 <= bins <= 256:
        raise UserError(f"bins must be from 2 to 256, got {bins}")
    features = np.empty((len(images), stripes * bins**3), dtype=np.float32)
    for start in range(0, len(images), CHUNK_IMAGES):
        features[start : start + CHUNK_IMAGES] = _histograms(
            np.asarray(images[start : start + CHUNK_IMAGES]), stripes, bins
        )
    return features


def _histograms(images: NDArray[np.uint8], stripes: int, bins: int) -> NDArray[np.float32]:
    num, height, width, _ = images.shape
    level = (np.arange(256) * bins // 256).astype(np.int64)
    binned = level[images]  # (R, H, W, 3)
    cell = (binned[..., 0] * bins + binned[..., 1]) * bins + binned[..., 2]  # (R, H, W)
    stripe = np.arange(height) * stripes // height
    cell += stripe[:, None] * bins**3
    length = stripes * bins**3
    cell += np.arange(num)[:, None, None] * length
    counts = np.bincount(cell.ravel(), minlength=num * length).reshape(num, length)
    # All pixels of an image are counted, so the roots' length is that of the pixels: sqrt(H * W).
    return np.sqrt(counts / (height * width)).astype(np.float32)
