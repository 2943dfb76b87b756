"""Images to compare two networks by: those of the experiment, where they can be had."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.datasets.packed_images import IMAGES, PackedImages
from pipeline.evaluation.test_set import TestSet, why_not_scored
from pipeline.preparation.synthetic import draw_images

NUM_CROPS = 64
NUM_CALIBRATION = 256


def crops_to_check(prepared: Path, *, height: int, width: int) -> tuple[np.ndarray, str]:
    """Up to 64 images of the prepared folder, spread over all its splits; drawn people where there is no such folder.

    Args:
        prepared: what the prepare stage writes.
        height: H.
        width: W. Images of another size are resized.

    Returns:
        of shape (N, H, W, 3), uint8; and what they are, for the user.
    """
    if (prepared / IMAGES).is_file():
        packed = PackedImages(prepared).images
        images = _spread(packed, NUM_CROPS)
        what = f"{len(images)} images of {prepared}"
    else:
        images, _, _ = draw_images(seed=1, identities=8, cameras=4, images_per_identity=4, workers=1)
        what = f"{len(images)} drawn people, as there is no {prepared}"
    if images.shape[1:3] == (height, width):
        return images, what
    return _resized(images, height, width), f"{what}, resized to {height} x {width}"


def crops_to_calibrate(prepared: Path, *, height: int, width: int) -> np.ndarray:
    """Up to 256 images by which to choose the ranges of 8-bit activations, the same in every call.

    Those of the gallery, spread over it; of the whole folder where it has none; drawn people where there is no folder.

    Args:
        prepared: what the prepare stage writes.
        height: H.
        width: W. Images of another size are resized.

    Returns:
        of shape (N, H, W, 3), uint8.
    """
    if (prepared / IMAGES).is_file():
        packed = PackedImages(prepared)
        gallery = packed.split("gallery").images
        images = _spread(gallery if len(gallery) else packed.images, NUM_CALIBRATION)
    else:
        images, _, _ = draw_images(seed=2, identities=64, cameras=4, images_per_identity=4, workers=1)
    return _resized(images, height, width)


def scoring_set(prepared: Path, *, height: int, width: int) -> tuple[TestSet | None, str]:
    """Queries and gallery of the prepared folder to score a network of these images by.

    Args:
        prepared: what the prepare stage writes.
        height: H.
        width: W.

    Returns:
        None where there is nothing to score; and why not, in a clause for the user.
    """
    if not (prepared / IMAGES).is_file():
        return None, f"there is no {prepared}"
    packed = PackedImages(prepared)
    if packed.images.shape[1:3] != (height, width):
        return None, f"the images of {prepared} are of another size"
    reason = why_not_scored(packed)
    return (None, reason) if reason else (TestSet(packed), "")


def _spread(images: np.ndarray, number: int) -> np.ndarray:
    return np.asarray(images[np.unique(np.linspace(0, len(images) - 1, number).astype(int))])


def _resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    if images.shape[1:3] == (height, width):
        return images
    return np.stack([np.asarray(Image.fromarray(i).resize((width, height), Image.Resampling.BICUBIC)) for i in images])
