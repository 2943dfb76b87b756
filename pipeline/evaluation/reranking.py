"""k-reciprocal re-ranking of galleries, sparse: memory grows with Q + M, not with its square.

Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017.

A convention that the published results rest on, and that the golden numbers confirm: the input is the *squared*
Euclidean distance e = 2 - 2 cos, and the published code squares it once more. Both places that use a distance use
this fourth power, divided by its largest value in the row over queries and gallery together, d = e^2 / max(e^2):
the weights exp(-d) of the neighbours, and the term lambda d of the result. Neighbours do not depend on it.

Camera-aware re-ranking (CA-Jaccard, CVPR 2024) differs in the neighbours alone, see `camera_jaccard.py`: those of an
image's own camera and those of other cameras are searched apart, and there is no expansion of the sets.

Where we differ: an image is its own first neighbour even where duplicates of it come before, and equal distances
are ordered by index.

Shapes: N = Q + M images, queries first; rank (N, W) neighbours, self first; the encoding V (N, N) is sparse.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipeline.clustering import CameraAware
from pipeline.clustering.camera_jaccard import CameraRanks, camera_sets, nearest_of_both
from pipeline.clustering.neighbourhoods import expanded_sets
from pipeline.common.errors import UserError
from pipeline.common.kernels import compiled, over_rows
from pipeline.evaluation import ranking

NO_LABELS = np.empty(0, dtype=np.int64)


def reranked_distances(
    query_features: NDArray[np.float32],
    gallery_features: NDArray[np.float32],
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_: float = 0.3,
    camera_aware: CameraAware | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields (first row, (R, M) distances in [0, 1]) from the first query to the last.

    Args:
        query_features: (Q, D); the angle alone counts.
        gallery_features: (M, D).
        k1: neighbours that must be reciprocal (self not counted), at least 1.
        k2: rows of the local expansion, self included; 1 = none.
        lambda_: share of the original distance, in [0, 1].
        camera_aware: cameras (Q + M,), queries first, and numbers of neighbours, in place of k1 and k2.

    Each array is overwritten by the next one: use it or copy it before you go on.

    Raises:
        UserError: a setting out of its range, or features that are not finite, zero or of different widths.
    """
    if k1 < 1 or k2 < 1 or not 0 <= lambda_ <= 1:
        raise UserError(
            f"re-ranking needs k1 >= 1, k2 >= 1 and lambda in [0, 1], got k1 {k1}, k2 {k2}, lambda {lambda_}"
        )
    query, query_norms = ranking.checked_features(query_features, "query_features")
    gallery, gallery_norms = ranking.checked_features(gallery_features, "gallery_features", width=query.shape[1])
    return _distances(_unit(query, query_norms), _unit(gallery, gallery_norms), k1, k2, lambda_, camera_aware)


def _distances(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k1: int,
    k2: int,
    lambda_: float,
    camera_aware: CameraAware | None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    num_queries = len(query)
    num = num_queries + len(gallery)
    if camera_aware is None:
        rank, farthest = _neighbours(query, gallery, min(num, max(k1 + 1, k2)))
        # Round half to even, as numpy.around does.
        sets = expanded_sets(rank[:, : k1 + 1].astype(np.int32), num_half=round(k1 / 2) + 1)
        near = rank[:, :k2].astype(np.int32)
    else:
        how = camera_aware
        ranks, farthest = _camera_neighbours(query, gallery, how)
        sets = camera_sets(ranks, k_intra=how.k_intra, k_inter=how.k_inter)
        near = nearest_of_both(ranks, k2_intra=how.k2_intra, k2_inter=how.k2_inter)
    encoding = _encode(query, gallery, *sets, farthest)
    if near.shape[1] > 1:
        encoding = _expand_locally(encoding, near)
    # The inverse index: for each image n, the gallery images whose encoding has n.
    inverse = encoding[num_queries:].tocsc()
    ones = np.ones(num, dtype=np.float32)
    for start, distance in ranking.cosine_distances(query, ones[:num_queries], gallery, ones[num_queries:]):
        rows = slice(start, start + len(distance))
        _mix_all(distance, farthest[rows], encoding[rows], inverse, lambda_)
        yield start, distance


def _mix_all(
    distance: NDArray[np.float32],
    farthest: NDArray[np.float32],
    encoding: sparse.csr_array,
    inverse: sparse.csc_array,
    lambda_: float,
) -> None:
    """Turns (R, M) negated cosines into the result, in place."""
    rows = (encoding.indptr, encoding.indices, encoding.data)
    columns = (inverse.indptr, inverse.indices, inverse.data)
    share = np.float32(lambda_)
    over_rows(
        lambda start, stop: _mix(distance, farthest, *rows, *columns, share, start, stop),
        len(distance),
        rows=ranking.BLOCK,
    )


def _unit(features: NDArray[np.float32], norms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; features that are that already are taken as they are, without a copy."""
    if np.abs(norms - 1).max() < 1e-5:
        return features
    return features / norms[:, None]


def _camera_neighbours(
    query: NDArray[np.float32], gallery: NDArray[np.float32], how: CameraAware
) -> tuple[CameraRanks, NDArray[np.float32]]:
    """Both rankings among all images, and (N,) 1 - cos of the farthest image of any camera."""
    num_queries, cameras = len(query), how.cameras
    width_intra, width_inter = 1 + max(how.k_intra, how.k2_intra - 1), max(how.k_inter, how.k2_inter)
    intra = np.full((len(cameras), width_intra), -1, np.int32)
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        mine = query[rows[rows < num_queries]], gallery[rows[rows >= num_queries] - num_queries]
        found, _ = _neighbours(*mine, min(len(rows), width_intra))
        intra[rows, : found.shape[1]] = rows[found]
    inter, farthest = _neighbours(query, gallery, width_inter, elsewhere=cameras)
    return CameraRanks(intra, inter.astype(np.int32)), farthest


def _neighbours(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    width: int,
    *,
    elsewhere: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(N, width) neighbours among all images, self first, and (N,) 1 - cos of the farthest image.

    With `elsewhere` (N,), cameras: among the images of other cameras alone, without the image itself; -1 for none.
    """
    num_queries = len(query)
    num = num_queries + len(gallery)
    rank = np.empty((num, width), dtype=np.int64)
    farthest = np.empty(num, dtype=np.float32)
    rows = max(1, min(num, ranking.CHUNK_BYTES // (4 * num)))
    buffer = np.empty((rows, num), dtype=np.float32)
    one = np.zeros(num, np.int64)  # "images of one identity in one camera" are passed over
    for first, side in ((0, query), (num_queries, gallery)):
        for start in range(0, len(side), rows):
            chunk = -side[start : start + rows]
            distance = buffer[: len(chunk)]
            np.matmul(chunk, query.T, out=distance[:, :num_queries])
            np.matmul(chunk, gallery.T, out=distance[:, num_queries:])
            here = np.arange(first + start, first + start + len(chunk))
            farthest[here] = 1 + distance.max(axis=1)
            if elsewhere is None:
                distance[np.arange(len(chunk)), here] = -np.inf
                labels = (NO_LABELS,) * 4
            else:
                labels = (one[here], elsewhere[here], one, elsewhere)
            _, rank[here] = ranking.smallest(distance, width, *labels)
    return rank, farthest


def _encode(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    farthest: NDArray[np.float32],
) -> sparse.csr_array:
    """V (N, N): in row i, the normalised weights exp(-d) of the neighbours of i, columns[starts[i] : starts[i + 1]]."""
    num = len(starts) - 1
    weights = np.empty(len(columns), dtype=np.float32)
    over_rows(
        lambda start, stop: _weigh(query, gallery, farthest, starts, columns, weights, start, stop),
        num,
        rows=ranking.BLOCK,
    )
    return sparse.csr_array((weights, columns, starts), shape=(num, num))


def _expand_locally(encoding: sparse.csr_array, nearest: NDArray[np.int32]) -> sparse.csr_array:
    """Row i becomes the mean of the rows of its nearest images, itself among them; -1 stands for none."""
    num = len(nearest)
    there = nearest >= 0
    counts = there.sum(axis=1)
    mean = sparse.csr_array(
        ((1 / counts).astype(np.float32).repeat(counts), nearest[there], np.concatenate([[0], counts.cumsum()])),
        shape=(num, num),
    )
    return (mean @ encoding).tocsr()


@compiled(reorder_sums=True)
def _dot(left, right):  # type: ignore[no-untyped-def]
    total = 0.0
    for place in range(len(left)):
        total += np.float64(left[place]) * np.float64(right[place])
    return total


@compiled
def _weigh(query, gallery, farthest, starts, columns, weights, start, stop):  # type: ignore[no-untyped-def]
    """Sorts each row's columns and fills in their weights."""
    num_queries = len(query)
    for image in range(start, stop):
        left = query[image] if image < num_queries else gallery[image - num_queries]
        members = columns[starts[image] : starts[image + 1]]
        members.sort()
        values = weights[starts[image] : starts[image + 1]]
        total = np.float32(0)
        for place in range(len(members)):
            member = members[place]
            right = query[member] if member < num_queries else gallery[member - num_queries]
            values[place] = np.exp(-_normalised(1 - _dot(left, right), farthest[image]))
            total += values[place]
        values /= total


@compiled
def _normalised(distance, farthest):  # type: ignore[no-untyped-def]
    """d: the squared squared distance, 1 for the farthest image; the factor 2 of 2 - 2 cos cancels."""
    if farthest <= 0:
        return np.float32(0)
    share = np.float32(distance / farthest)
    return share * share


@compiled
def _mix(  # type: ignore[no-untyped-def]
    distance, farthest, starts, columns, weights, inverse_starts, inverse_rows, inverse_weights, share, start, stop
):
    """(1 - share) Jaccard + share original, in place; `distance` comes as the negated cosine."""
    for row in range(start, stop):
        shared = np.zeros(distance.shape[1], dtype=np.float32)
        for entry in range(starts[row], starts[row + 1]):
            column, weight = columns[entry], weights[entry]
            for other in range(inverse_starts[column], inverse_starts[column + 1]):
                shared[inverse_rows[other]] += min(weight, inverse_weights[other])
        for column in range(distance.shape[1]):
            jaccard = 1 - shared[column] / (2 - shared[column])
            original = _normalised(distance[row, column] + 1, farthest[row])
            distance[row, column] = (1 - share) * jaccard + share * original
