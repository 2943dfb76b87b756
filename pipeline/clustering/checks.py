"""What every step of the clustering requires of the embeddings."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.common.errors import UserError

TOLERANCE = 0.01  # of a squared length: rows normalised in half precision pass, unnormalised rows do not


def checked(features: Any) -> NDArray[np.float32]:
    """The embeddings (N, D) as a contiguous array, without a copy where they are one on the CPU already.

    Raises:
        ValueError: not a float32 matrix, or a row whose length is not 1.
        UserError: a row that is not finite.
    """
    if isinstance(features, torch.Tensor):
        features = features.detach().cpu().numpy()
    if not isinstance(features, np.ndarray) or features.ndim != 2 or features.dtype != np.float32:
        shape = getattr(features, "shape", None)
        what = type(features).__name__ if shape is None else f"{features.dtype} of shape {tuple(shape)}"
        raise ValueError(f"features must be a float32 matrix (images, width), got {what}")
    with np.errstate(over="ignore", invalid="ignore"):
        squared = np.einsum("nd,nd->n", features, features)
    if not np.isfinite(squared).all():
        row = int(np.argmin(np.isfinite(squared)))
        raise UserError(f"features of image {row} are not finite: the training has diverged, lower the learning rate")
    wrong = np.abs(squared - 1) > TOLERANCE
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"features of image {row} have length {squared[row] ** 0.5:.3g}: normalise them to 1 first")
    return np.ascontiguousarray(features)
