"""A model of the train stage as MLflow serves it: a table with the column `path` -> the embeddings of those images.

MLflow imports this module from the code beside the model (see `pipeline.tracking.registry`) and calls `_load_pyfunc`.
It does not import MLflow.
"""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.inference.embedder import Embedder


class ImageEmbedder:
    """The student of a model."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def predict(self, table: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """The embeddings (N, D), float32, rows of length 1, of the images that the column `path` names.

        Images are decoded and resized as `prepare` does it; memory holds a few of them.

        Raises:
            UserError: an image cannot be read.
        """
        return self._embedder([str(path) for path in table["path"]], shown=True)


def _load_pyfunc(path: str) -> ImageEmbedder:
    """Called by MLflow with the model's file."""
    return ImageEmbedder(Embedder(path))
