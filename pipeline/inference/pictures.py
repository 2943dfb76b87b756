"""What a caller may hand over as an image: a path, a PIL image, or an array of pixels.

h, w: pixels of an image as it comes; H, W: of those that the network takes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.datasets.images import UnreadableImageError, read_image, resized_image
from pipeline.model.embedding import CHUNK

Picture = str | Path | Image.Image | np.ndarray
AT_ONCE = CHUNK  # decoded images in memory: as many as a network takes


def as_pictures(images: Picture | Sequence[Picture] | np.ndarray) -> list[Picture]:
    """One image, several, or an array (N, h, w, 3) as a list."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    return [images] if isinstance(images, str | Path | Image.Image) else list(images)


def decoded(pictures: Sequence[Picture], *, size: tuple[int, int], first: int = 0) -> np.ndarray:
    """Upright and resized as `prepare` does it: (N, H, W, 3) uint8.

    Args:
        pictures: N images.
        size: H and W.
        first: place of the first of them in the caller's list, for a message.

    Raises:
        UserError: an image cannot be read, or is no image.
    """
    height, width = size
    images = np.empty((len(pictures), height, width, 3), np.uint8)
    for place, picture in enumerate(pictures):
        named = isinstance(picture, str | Path)
        name = one_line(picture) if named else f"image {first + place}"
        try:
            if isinstance(picture, str | Path):
                images[place] = read_image(Path(picture), height=height, width=width)
            else:
                images[place] = resized_image(_opened(picture, name), height=height, width=width)
        except UnreadableImageError as reason:
            raise UserError(f"{name} cannot be read: {reason}") from reason
    return images


def _opened(picture: Image.Image | np.ndarray, name: str) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    if not isinstance(picture, np.ndarray):
        raise UserError(f"{name} must be a path, a PIL image or an array, got {type(picture).__name__}")
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise UserError(f"{name} must be of shape (h, w, 3) and uint8, got {picture.shape} and {picture.dtype}")
    return Image.fromarray(picture)
