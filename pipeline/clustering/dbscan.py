"""DBSCAN on a sparse matrix of distances.

Source: Ester, Kriegel, Sander & Xu, *A density-based algorithm for discovering clusters*, KDD 1996. The labels are
scikit-learn's (`DBSCAN(metric="precomputed")` on the dense matrix), their order and the border points included.

Shapes: N images; nnz stored distances.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.common.errors import UserError
from pipeline.common.kernels import compiled

OUTLIER = -1


def dbscan(distance: sp.csr_array, *, eps: float, min_samples: int) -> NDArray[np.int64]:
    """Labels the images: 0, 1, ... for the clusters in order of their first core point, -1 for an outlier.

    A stored entry, zero included, is a distance; a pair without an entry is farther apart than any eps. Every
    image is its own neighbour, whether its diagonal entry is stored or not. An image with at least `min_samples`
    neighbours at `d <= eps` (itself counted) is a core point; one that only lies near core points of several
    clusters joins the first of them.

    Args:
        distance: (N, N) of float32 or float64; never modified.
        eps: the radius, inclusive, compared at the precision of the distances.
        min_samples: at least 1.

    Returns:
        (N,) int64. O(N + nnz) in time, O(N) in memory beyond the distances.

    Raises:
        UserError: a matrix that is not square, sparse or of floats, eps that is not positive, min_samples below 1.
    """
    if not sp.issparse(distance) or distance.ndim != 2 or distance.shape[0] != distance.shape[1]:
        raise UserError(f"distance must be a square sparse matrix, got {_described(distance)}")
    if distance.dtype not in (np.float32, np.float64):
        raise UserError(f"distance must be float32 or float64, got {distance.dtype}")
    if not eps > 0:
        raise UserError(f"eps must be greater than 0, got {eps}")
    if min_samples < 1:
        raise UserError(f"min_samples must be at least 1, got {min_samples}")
    rows = distance.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return _grow(rows.indptr, rows.indices, rows.data, rows.dtype.type(eps), min_samples)


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of shape {shape}"


@compiled
def _grow(indptr, indices, data, eps, min_samples):  # type: ignore[no-untyped-def]
    num_images = len(indptr) - 1
    core = np.zeros(num_images, np.bool_)
    for i in range(num_images):
        neighbours = 1
        for entry in range(indptr[i], indptr[i + 1]):
            if indices[entry] != i and data[entry] <= eps:
                neighbours += 1
        core[i] = neighbours >= min_samples
    labels = np.full(num_images, -1, np.int64)
    stack = np.empty(num_images, np.int64)
    num_clusters = 0
    for seed in range(num_images):
        if not core[seed] or labels[seed] != -1:
            continue
        # A whole cluster is grown before the next seed is looked at, so a border point keeps its first cluster.
        labels[seed] = num_clusters
        stack[0] = seed
        height = 1
        while height > 0:
            height -= 1
            i = stack[height]
            for entry in range(indptr[i], indptr[i + 1]):
                j = indices[entry]
                if data[entry] <= eps and labels[j] == -1:
                    labels[j] = num_clusters
                    if core[j]:
                        stack[height] = j
                        height += 1
        num_clusters += 1
    return labels
