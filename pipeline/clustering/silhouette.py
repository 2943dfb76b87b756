"""How well clusters stand apart, without labels: the silhouette by the distances that they were found by.

For an image, a is the mean distance to the others of its cluster, b the mean distance to the nearest other cluster, and
its silhouette (b - a) / max(a, b): 1 where a cluster is all by itself, 0 between two, below 0 in the wrong one. Pairs
whose distance was not kept, since it is above the clustering's limit, count as 1, the largest Jaccard distance.

Source: Rousseeuw, "Silhouettes", Journal of Computational and Applied Mathematics 20, 1987.

N: images · K: clusters.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

SAMPLE = 20_000  # images that are looked at, evenly spread over the catalogue


def silhouette(labels: NDArray[np.int64], distance: sp.csr_array, *, sample: int = SAMPLE) -> float | None:
    """The mean silhouette of the images that are in clusters; None with fewer than two clusters.

    Args:
        labels: (N,) clusters 0 .. K - 1, each of them used; -1 for outliers, which count nowhere.
        distance: (N, N) Jaccard distances up to a limit, as `jaccard_distance` gives them.
        sample: images at most.
    """
    sizes = np.bincount(labels[labels >= 0])
    if len(sizes) < 2:
        return None
    clustered = np.flatnonzero(labels >= 0)
    rows = clustered[:: max(1, -(-len(clustered) // sample))]
    near = distance[rows]
    near.data = 1 - near.data.astype(np.float64)
    row_of = np.repeat(np.arange(len(rows)), np.diff(near.indptr))
    near.data[near.indices == rows[row_of]] = 0  # an image is no neighbour of itself
    membership = sp.csr_array(
        (np.ones(len(clustered)), (clustered, labels[clustered])), shape=(len(labels), len(sizes))
    )
    total = sp.csr_array(near @ membership)  # similarities of an image to a cluster, added up
    row_of = np.repeat(np.arange(len(rows)), np.diff(total.indptr))
    own = total.indices == labels[rows[row_of]]
    a, b = np.ones(len(rows)), np.ones(len(rows))
    a[row_of[own]] -= total.data[own] / np.maximum(sizes[total.indices[own]] - 1, 1)
    np.minimum.at(b, row_of[~own], 1 - total.data[~own] / sizes[total.indices[~own]])
    found = (b - a) / np.maximum(np.maximum(a, b), np.finfo(np.float64).tiny)
    return float(np.where(sizes[labels[rows]] > 1, found, 0).mean())
