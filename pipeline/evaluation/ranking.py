"""Ranking a gallery by cosine, a few rows at a time: nothing of size Q x M stays in memory.

Shapes: query_features (Q, D), gallery_features (M, D); a chunk of distances is (R, M), R <= Q.
Distance here is the negated cosine: it orders a gallery as the Euclidean distance of vectors of length 1 does.
Equal distances are ordered by gallery index, so that a ranking is one ranking only. "Equal" means the same float32:
a matrix product may give two copies of an image distances that differ in the last bit.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pipeline.common.errors import UserError
from pipeline.common.kernels import compiled, over_rows

# One chunk of distances. The product of a chunk this size runs at the machine's full rate already.
CHUNK_BYTES = 128 * 2**20
# Rows that one thread takes at a time.
BLOCK = 64


def top_matches(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    *,
    k: int,
    query_ids: ArrayLike | None = None,
    query_cams: ArrayLike | None = None,
    gallery_ids: ArrayLike | None = None,
    gallery_cams: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """The k gallery images nearest to each query, best first.

    Args:
        query_features: (Q, D) features of any length: the angle alone counts.
        gallery_features: (M, D).
        k: how many matches, at least 1.
        query_ids, query_cams, gallery_ids, gallery_cams: (Q,), (Q,), (M,), (M,) integers. With all four, images of
            the query's identity in the query's camera do not appear (the evaluation protocol). Without cameras,
            every image may appear.

    Returns:
        (Q, k) gallery indices; -1 fills up a row with fewer than k allowed images.

    Raises:
        UserError: k < 1, features that are not finite, zero or of different widths, or labels of a wrong length.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, got {k}")
    query, query_norms = checked_features(query_features, "query_features")
    gallery, gallery_norms = checked_features(gallery_features, "gallery_features", width=query.shape[1])
    sides = (query_ids, query_cams, gallery_ids, gallery_cams)
    if any(side is None for side in sides):
        if query_cams is not None or gallery_cams is not None:
            raise UserError("the camera filter needs query_ids, query_cams, gallery_ids and gallery_cams, all four")
        labels = [np.arange(0)] * 4
    else:
        lengths = (len(query), len(query), len(gallery), len(gallery))
        names = ("query_ids", "query_cams", "gallery_ids", "gallery_cams")
        labels = [checked_labels(*each) for each in zip(sides, names, lengths, strict=True)]
    matches = np.empty((len(query), k), dtype=np.int64)
    for start, distance in cosine_distances(query, query_norms, gallery, gallery_norms):
        stop = start + len(distance)
        _, matches[start:stop] = smallest(distance, k, labels[0][start:stop], labels[1][start:stop], *labels[2:])
    return matches


def cosine_distances(
    query: NDArray[np.float32],
    query_norms: NDArray[np.float32],
    gallery: NDArray[np.float32],
    gallery_norms: NDArray[np.float32],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields (first row, (R, M) negated cosines) from the first query to the last.

    The array is overwritten by the next one: use it or copy it before you go on.
    """
    rows = max(1, min(len(query), CHUNK_BYTES // (4 * len(gallery))))
    buffer = np.empty((rows, len(gallery)), dtype=np.float32)
    for start in range(0, len(query), rows):
        stop = min(start + rows, len(query))
        distance = buffer[: stop - start]
        np.matmul(query[start:stop] / -query_norms[start:stop, None], gallery.T, out=distance)
        distance /= gallery_norms
        yield start, distance


def smallest(
    distance: NDArray[np.float32],
    k: int,
    query_ids: NDArray[np.int64],
    query_cams: NDArray[np.int64],
    gallery_ids: NDArray[np.int64],
    gallery_cams: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k smallest distances of each row and their columns, (R, k) both, equal ones by column.

    Pairs of one identity in one camera are passed over; empty ids pass over nothing. Missing places: inf, -1.
    """
    values = np.full((len(distance), k), np.inf, dtype=np.float32)
    columns = np.full((len(distance), k), -1, dtype=np.int64)
    labels = (query_ids, query_cams, gallery_ids, gallery_cams)
    over_rows(lambda a, b: _select(distance, *labels, values, columns, a, b), len(distance), rows=BLOCK)
    return values, columns


def checked_features(
    features: ArrayLike, name: str, *, width: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`features` as (N, D) float32, without a copy where they are that, and their lengths (N,)."""
    if isinstance(features, torch.Tensor):
        features = features.detach().float().cpu().numpy()
    array = np.ascontiguousarray(features, dtype=np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise UserError(f"{name} must be a table (images, width) that is not empty, got shape {array.shape}")
    if width is not None and array.shape[1] != width:
        raise UserError(f"{name} are {array.shape[1]} wide, the query features {width}: use one model for both")
    norms = np.sqrt(np.einsum("nd,nd->n", array, array))
    wrong = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(wrong):
        what = "zero" if norms[wrong[0]] == 0 else "not finite"
        raise UserError(f"{name}: row {wrong[0]} is {what} ({len(wrong)} such rows): the model's output is broken")
    return array, norms


def checked_labels(labels: ArrayLike | None, name: str, length: int) -> NDArray[np.int64]:
    """`labels` as (length,) int64, always a copy: a read-only array would have the code compiled once more."""
    array = np.asarray(labels)
    if array.shape != (length,):
        raise UserError(f"{name} must hold one label for each of the {length} images, got shape {array.shape}")
    if array.dtype == object and all(isinstance(value, int | np.integer) for value in array):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise UserError(f"{name} must be integers without gaps, got {array.dtype} (no cameras at all: pass None)")
    return array.astype(np.int64, order="C")


@compiled
def _select(distance, query_ids, query_cams, gallery_ids, gallery_cams, values, columns, start, stop):  # type: ignore[no-untyped-def]
    k = values.shape[1]
    for row in range(start, stop):
        for column in range(distance.shape[1]):
            here = distance[row, column]
            # Columns come in rising order: an equal distance further on never displaces one that is in.
            if not here < values[row, k - 1]:
                continue
            if len(query_ids) > 0 and query_ids[row] == gallery_ids[column] and query_cams[row] == gallery_cams[column]:
                continue
            place = k - 1
            while place > 0 and values[row, place - 1] > here:
                values[row, place] = values[row, place - 1]
                columns[row, place] = columns[row, place - 1]
                place -= 1
            values[row, place] = here
            columns[row, place] = column
