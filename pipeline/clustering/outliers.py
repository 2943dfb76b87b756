"""Outliers as clusters of their own, where every image has to be in one; and numbers of clusters without gaps."""

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.dbscan import OUTLIER


def outliers_alone(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The same clusters, and behind them one for each outlier, in catalogue order; (N,) int64, a copy."""
    numbered = labels.astype(np.int64)
    alone = labels == OUTLIER
    numbered[alone] = labels.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return numbered


def without_gaps(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The clusters that are left as 0 .. K - 1 in their old order, -1 for outliers, of shape (N,)."""
    kept, numbers = labels != OUTLIER, labels.copy()
    numbers[kept] = np.unique(labels[kept], return_inverse=True)[1]
    return numbers
