"""A model of the train stage as MLflow serves it: a table with the column `path` -> the embeddings of those images.

MLflow imports this module from the code beside the model (see `pipeline.tracking.registry`) and calls `_load_pyfunc`.
It does not import MLflow.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError
from pipeline.datasets.images import UnreadableImageError, read_image
from pipeline.inference.embedder import Embedder, open_embedder
from pipeline.model.embedding import CHUNK


class ImageEmbedder:
    """The student of a model."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def predict(self, table: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """The embeddings (N, D), float32, rows of length 1, of the images that the column `path` names.

        Images are decoded and resized as `prepare` does it; memory holds a chunk of them.

        Raises:
            UserError: an image cannot be read.
        """
        paths = [Path(path) for path in table["path"]]
        embeddings = np.zeros((len(paths), self._embedder.num_features), np.float32)
        for start in range(0, len(paths), CHUNK):
            images = np.stack([self._read(path) for path in paths[start : start + CHUNK]])
            title = f"images {start + 1} to {start + len(images)} of {len(paths)}"
            embeddings[start : start + CHUNK] = self._embedder.embed(images, title)
        return embeddings

    def _read(self, path: Path) -> np.ndarray:
        height, width = self._embedder.size
        try:
            return read_image(path, height=height, width=width)
        except UnreadableImageError as error:
            raise UserError(f"{path} cannot be read: {error}") from error


def _load_pyfunc(path: str) -> ImageEmbedder:
    """Called by MLflow with the model's file."""
    return ImageEmbedder(open_embedder(Path(path)))
