"""The clusters of a finished training, as a table for the user: which images the network takes for one individual."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COLUMNS = ("path", "cluster")


def cluster_table(labels: NDArray[np.int64], paths: Sequence[str]) -> pd.DataFrame:
    """One row per image, in the order of `paths`, with the columns `COLUMNS`.

    Args:
        labels: (N,) clusters 0 .. K - 1; -1 is an outlier, which belongs to none.
        paths: of the N images.

    Returns:
        clusters numbered from 0 by their size, the largest first; -1 for outliers.
    """
    sizes = np.bincount(labels[labels >= 0])
    number = np.empty(len(sizes) + 1, np.int64)
    number[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    number[-1] = -1
    return pd.DataFrame(dict(zip(COLUMNS, (list(paths), number[labels]), strict=True)))
