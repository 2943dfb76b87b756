"""The clusters of a finished training, as a table for a person: which images the network takes for one individual."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.clustering.pseudo_labels import pseudo_labels
from pipeline.clustering.schedule import eps_at

COLUMNS = ("path", "cluster")


def cluster_table(
    embeddings: NDArray[np.float32], paths: Sequence[str], *, epochs: int, eps: float, eps_schedule: str, **how: Any
) -> pd.DataFrame:
    """Clusters the embeddings of the trained network as the last epoch of its training did.

    Args:
        embeddings: (N, D) float32, L2-normalised.
        paths: N paths of images.
        epochs: of the training.
        eps, eps_schedule: of the training; the radius is that of the last epoch.
        how: min_samples, k1, k2 and neighbours, see `pseudo_labels`.

    Returns:
        N rows in the order of `paths` with the columns `COLUMNS`; cluster -1 is an outlier, which belongs to none.
        Clusters are numbered from 0 by their size, the largest first.
    """
    radius = eps_at(epochs - 1, schedule=eps_schedule, start=eps, epochs=epochs)
    labels = pseudo_labels(embeddings, eps=radius, **how).labels
    sizes = np.bincount(labels[labels >= 0])
    number = np.empty(len(sizes) + 1, np.int64)
    number[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    number[-1] = -1
    return pd.DataFrame(dict(zip(COLUMNS, (list(paths), number[labels]), strict=True)))
