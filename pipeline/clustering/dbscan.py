"""DBSCAN on a sparse matrix of distances, by scikit-learn.

Source: Ester, Kriegel, Sander & Xu, *A density-based algorithm for discovering clusters*, KDD 1996.

Shapes: N images; nnz stored distances.
"""

import warnings

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

OUTLIER = -1


def dbscan(
    distance: sp.csr_array, *, eps: float, min_samples: int, weights: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Labels the images: 0, 1, ... for the clusters in order of their first core point, -1 for an outlier.

    A stored entry, zero included, is a distance; a pair without an entry is farther apart than any eps. Every
    image is its own neighbour, whether its diagonal entry is stored or not. An image with at least `min_samples`
    neighbours at `d <= eps` (itself included) is a core point; one that only lies near core points of several
    clusters joins the first of them.

    Args:
        distance: (N, N) of float32 or float64; never modified.
        eps: the radius, inclusive, compared at the precision of the distances.
        min_samples: at least 1.
        weights: (N,) as how many images each counts; None: as one.

    Returns:
        (N,) int64. O(nnz) in time and in memory beyond the distances.

    Raises:
        ValueError: a matrix that is not square, sparse or of floats, eps that is not positive, min_samples below 1.
    """
    from sklearn.cluster import DBSCAN  # here: nearly a second, and all stages import this package
    from sklearn.exceptions import EfficiencyWarning

    if not sp.issparse(distance) or distance.ndim != 2 or distance.shape[0] != distance.shape[1]:
        raise ValueError(f"distance must be a square sparse matrix, got {_described(distance)}")
    if distance.dtype not in (np.float32, np.float64):
        raise ValueError(f"distance must be float32 or float64, got {distance.dtype}")
    if not eps > 0:
        raise ValueError(f"eps must be greater than 0, got {eps}")
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, got {min_samples}")
    if distance.shape[0] == 0:
        return np.empty(0, np.int64)
    # As a float of the matrix's type: else a float32 distance equal to eps could lie outside the radius.
    radius = float(distance.dtype.type(eps))
    clustering = DBSCAN(eps=radius, min_samples=min_samples, metric="precomputed")
    with warnings.catch_warnings():
        # Rows are sorted by column, not by distance as scikit-learn would like; sorting them changes no label.
        warnings.simplefilter("ignore", EfficiencyWarning)
        labels: NDArray[np.int64] = clustering.fit_predict(distance.tocsr(), sample_weight=weights)
    return labels.astype(np.int64, copy=False)


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of shape {shape}"
