"""How tight the clusters are, and how far apart: what the contrast is after. It needs no true identity.

N: images · K: clusters · D: width of the embedding.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.neighbours import nearest_neighbours


def cluster_spread(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    centroids: NDArray[np.float32],
    *,
    neighbours: str = "exact",
) -> tuple[float | None, float | None]:
    """Mean cosine distances (1 - cosine, in [0, 2]) within and between clusters.

    Args:
        features: (N, D), L2-normalised.
        labels: (N,) from 0 to K - 1, -1 for outliers, which are left out.
        centroids: (K, D), L2-normalised, of these clusters.
        neighbours: how to search for the nearest centroid, see `nearest_neighbours`.

    Returns:
        The mean distance of a clustered image from its own centroid, and that of a centroid from the nearest other
        one; None where there is no cluster, or no other.
    """
    members = np.flatnonzero(labels >= 0)
    if len(members) == 0:
        return None, None
    within = 1 - float(_cosines(features, members, centroids, labels[members]).mean())
    if len(centroids) < 2:
        return within, None
    nearest = nearest_neighbours(centroids, 2, method=neighbours)[:, 1]
    between = 1 - float(_cosines(centroids, np.arange(len(centroids)), centroids, nearest).mean())
    return within, between


def _cosines(
    left: NDArray[np.float32], rows: NDArray[np.int64], right: NDArray[np.float32], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """<left[rows[i]], right[others[i]]> for each i, a few rows at a time."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), 4096):
        part = slice(start, start + 4096)
        found[part] = np.einsum("nd,nd->n", left[rows[part]], right[others[part]])
    return found
