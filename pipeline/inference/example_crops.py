"""Images to compare two networks by: those of the experiment, where they can be had."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.datasets.packed_images import IMAGES, PackedImages
from pipeline.preparation.synthetic import draw_images

NUM_CROPS = 64


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
        rows = np.unique(np.linspace(0, len(packed) - 1, NUM_CROPS).astype(int))
        images, what = packed[rows], f"{len(rows)} images of {prepared}"
    else:
        images, _, _ = draw_images(seed=1, identities=8, cameras=4, images_per_identity=4, workers=1)
        what = f"{len(images)} drawn people, as there is no {prepared}"
    if images.shape[1:3] == (height, width):
        return np.asarray(images), what
    resized = [np.asarray(Image.fromarray(i).resize((width, height), Image.Resampling.BICUBIC)) for i in images]
    return np.stack(resized), f"{what}, resized to {height} x {width}"
