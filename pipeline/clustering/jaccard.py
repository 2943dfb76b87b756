"""The k-reciprocal Jaccard distance between images, sparse throughout.

Source: Zhong, Zheng, Cao & Li, *Re-ranking person re-identification with k-reciprocal encoding*, CVPR 2017, in the
form that clustering-based re-identification uses.

An image shares weight with its own neighbourhood only, so the matrices of the textbook form are almost empty. Here
they are kept by rows, and nothing of size N x N exists. Two images whose neighbourhoods do not meet have distance 1
exactly: the matrix of distances up to any limit below 1 is complete.

Shapes: N images, D width of an embedding, k1 columns of the ranking. V is the (N, N) matrix of weights; a row of it is
an image's soft neighbourhood and sums to 1. Each row is one thread's work, in one fixed order.
"""

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.clustering.checks import checked
from pipeline.clustering.neighbourhoods import Rows, block_rows, joined, soft_neighbourhoods
from pipeline.clustering.neighbours import nearest_neighbours
from pipeline.common.kernels import compiled, over_rows


def jaccard_distance(
    features: Any,
    *,
    k1: int,
    k2: int,
    max_distance: float,
    neighbours: NDArray[np.integer] | None = None,
    method: str = "exact",
    threads: int | None = None,
) -> sp.csr_array:
    """The Jaccard distances up to `max_distance` between all images.

    V[i] are the weights of the images in the neighbourhood of i (`neighbourhoods.py`). With their overlap
    s = sum_n min(V[i, n], V[j, n]), the distance of i and j is 1 - s / (2 - s), and 0 at least.

    Args:
        features: (N, D) float32, L2-normalised rows, numpy or torch; never modified.
        k1: neighbours that may be reciprocal, the image itself counted; N where there are fewer images.
        k2: neighbours, the image itself counted, that V is averaged over; 1 leaves V as it is.
        max_distance: in (0, 1); at least the eps that will be clustered with.
        neighbours: (N, >= k1) as from `nearest_neighbours`, where they are known already.
        method: how to search for them otherwise.
        threads: None is one for each core. The result does not depend on it.

    Returns:
        (N, N) float32, symmetric, columns sorted. Stored are exactly the distances d <= max_distance, those of 0 (the
        diagonal, equal images) too.

    Raises:
        ValueError: as `nearest_neighbours`; k1 or k2 below 1, max_distance outside (0, 1), neighbours of another shape.
        UserError: features that are not finite.
    """
    embeddings = checked(features)
    num_images = len(embeddings)
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 and k2 must be at least 1, got k1 {k1} and k2 {k2}")
    if not 0 < max_distance < 1:
        raise ValueError(f"max_distance must be in (0, 1), got {max_distance}")
    k1 = min(k1, num_images)
    if neighbours is None:
        neighbours = nearest_neighbours(embeddings, max(k1, 1), method=method, threads=threads)
    if neighbours.ndim != 2 or len(neighbours) != num_images or neighbours.shape[1] < k1:
        raise ValueError(f"neighbours must be ({num_images}, {k1}) or wider, got shape {neighbours.shape}")
    if num_images == 0:
        return sp.csr_array((0, 0), dtype=np.float32)
    rank = np.ascontiguousarray(neighbours[:, :k1], dtype=np.int32)
    V = soft_neighbourhoods(embeddings, rank, k2=k2, threads=threads)
    return overlap_distance(V, max_distance=max_distance, threads=threads)


def overlap_distance(V: Rows, *, max_distance: float, threads: int | None = None) -> sp.csr_array:
    """The distances 1 - s / (2 - s) up to `max_distance`, as `jaccard_distance` describes them, from V (N, N)."""
    num_images = len(V.starts) - 1
    step = partial(_overlap, *V, *_invert(*V), np.float32(max_distance))
    above = joined(over_rows(step, num_images, rows=block_rows(num_images), threads=threads))
    starts, columns, distances = _mirror(*above)
    return sp.csr_array((distances, columns, starts), shape=(num_images, num_images))


@compiled
def _invert(starts, columns, weights):  # type: ignore[no-untyped-def]
    """V by columns: who shares column n. Also the place there of each entry, behind which later rows follow.

    Indices of the innermost loop are unsigned: they need no look whether they count from the end.
    """
    num_images = len(starts) - 1
    heads = np.zeros(num_images + 1, np.int64)
    for n in columns:
        heads[n + 1] += 1
    heads = np.cumsum(heads)
    free = heads[:-1].copy()
    rows = np.empty(len(columns), np.uint32)
    shares = np.empty(len(columns), np.float32)
    behind = np.empty(len(columns), np.int64)
    for i in range(num_images):
        for at in range(starts[i], starts[i + 1]):
            n = columns[at]
            rows[free[n]] = i
            shares[free[n]] = weights[at]
            free[n] += 1
            behind[at] = free[n]
    return heads, rows, shares, behind


@compiled
def _overlap(starts, columns, weights, heads, rows, shares, behind, limit, start, stop):  # type: ignore[no-untyped-def]
    """Distances of each image to the images after it, in no particular order within a row."""
    num_images = len(starts) - 1
    total = np.zeros(num_images, np.float32)
    met = np.empty(num_images + 1, np.uint32)
    lengths = np.zeros(stop - start, np.int64)
    out_columns = np.empty((stop - start) * 64, np.int32)
    out = np.empty((stop - start) * 64, np.float32)
    used = 0
    for i in range(start, stop):
        num_met = np.uint64(0)
        for at in range(starts[i], starts[i + 1]):
            n = columns[at]
            weight = weights[at]
            later = rows[behind[at] : heads[n + 1]]
            theirs = shares[behind[at] : heads[n + 1]]
            for p in range(len(later)):
                j = later[p]
                before = total[j]
                met[num_met] = j
                num_met += np.uint64(before == 0)  # without a branch: weights are positive
                total[j] = before + min(weight, theirs[p])
        if used + num_met > len(out):
            out_columns = np.concatenate((out_columns, np.empty(used + num_met, np.int32)))
            out = np.concatenate((out, np.empty(used + num_met, np.float32)))
        first = used
        for j in met[:num_met]:
            distance = max(np.float32(0), np.float32(1) - total[j] / (np.float32(2) - total[j]))
            total[j] = 0
            out_columns[used] = j
            out[used] = distance
            used += distance <= limit
        lengths[i - start] = used - first
    return lengths, out_columns[:used].copy(), out[:used].copy()


@compiled
def _mirror(starts, columns, distances):  # type: ignore[no-untyped-def]
    """The symmetric matrix with its diagonal of zeros, columns sorted, from the entries above the diagonal."""
    num_images = len(starts) - 1
    heads = np.zeros(num_images + 1, np.int64)
    for i in range(num_images):
        heads[i + 1] += starts[i + 1] - starts[i] + 1
    for j in columns:
        heads[j + 1] += 1
    heads = np.cumsum(heads)
    free = heads[:-1].copy()
    out_columns = np.empty(heads[-1], np.int32)
    out = np.empty(heads[-1], np.float32)
    # Rows in order put sorted columns left of the diagonal; what they put there, read in order, sorts the right.
    for i in range(num_images):
        for at in range(starts[i], starts[i + 1]):
            j = columns[at]
            out_columns[free[j]] = i
            out[free[j]] = distances[at]
            free[j] += 1
    for j in range(num_images):
        out_columns[free[j]] = j
        out[free[j]] = 0
        last = free[j]
        free[j] += 1
        for at in range(heads[j], last):
            i = out_columns[at]
            out_columns[free[i]] = j
            out[free[i]] = out[at]
            free[i] += 1
    return heads, out_columns, out
