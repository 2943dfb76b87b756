"""A round of NN-descent: candidates that neighbours of neighbours add to a search that missed some.

Each image meets its nearest candidates, the images that have it among their nearest, and the nearest of both: two that
have a neighbour in common are likely to be neighbours.

Source: Dong, Moses & Li, *Efficient k-nearest neighbor graph construction for generic similarity measures*, WWW 2011.

Shapes: N images, D width of an embedding, W candidates of an image.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.common.kernels import compiled, over_rows

JOINED = 30  # nearest candidates of an image that it goes to
OFFERED = 16  # nearest candidates that each of these shows
REVERSE = 8  # images that have it among their nearest, the nearer ones first
BLOCK = 1024  # rows that a thread takes at a time

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]


def descend(
    embeddings: Floats, values: Floats, columns: Indices, *, threads: int | None = None
) -> tuple[Floats, Indices]:
    """The lists with the best of what a round adds; the same for any number of threads.

    Args:
        embeddings: (N, D), L2-normalised; quickest where similar images lie near each other.
        values: (N, W) similarities, from most to least similar, -inf where there is no candidate.
        columns: (N, W) images; the image itself where there is no candidate.
        threads: None is one for each core.

    Returns:
        values and columns, of the same shapes.
    """
    num_images, width = columns.shape
    joined, offered = min(JOINED, width), min(OFFERED, width)
    behind = np.empty((num_images, REVERSE), np.int32)
    counts = np.zeros(num_images, np.int32)
    _reverse(columns, joined, behind, counts)
    # Written are copies alone: what is read stays, so that no order of threads shows.
    new_values, new_columns = values.copy(), columns.copy()
    step = partial(_meet, embeddings, columns, behind, counts, joined, offered, new_values, new_columns)
    over_rows(step, num_images, rows=BLOCK, threads=threads)
    return new_values, new_columns


@compiled
def _reverse(columns, joined, behind, counts):  # type: ignore[no-untyped-def]
    """For each image the first of those that have it among their nearest, the nearer ones before the others."""
    for p in range(joined):
        for i in range(len(columns)):
            j = columns[i, p]
            if j != i and counts[j] < behind.shape[1]:
                behind[j, counts[j]] = i
                counts[j] += 1


@compiled
def _meet(  # type: ignore[no-untyped-def]
    embeddings, columns, behind, counts, joined, offered, values, out, start, stop
):
    """Compares the images of some rows with their neighbours' neighbours; `values` and `out` take the best."""
    seen = np.full(len(embeddings), -1, np.int32)  # by which image it has been met
    for i in range(start, stop):
        seen[i] = i
        for p in range(out.shape[1]):
            seen[out[i, p]] = i
        for p in range(joined + counts[i]):
            a = columns[i, p] if p < joined else behind[i, p - joined]
            if a == i:
                continue
            if seen[a] != i:
                seen[a] = i
                _insert(values[i], out[i], a, _product(embeddings[i], embeddings[a]))
            for q in range(offered + counts[a]):
                j = columns[a, q] if q < offered else behind[a, q - offered]
                if seen[j] != i:
                    seen[j] = i
                    _insert(values[i], out[i], j, _product(embeddings[i], embeddings[j]))


@compiled
def _insert(values, columns, j, value):  # type: ignore[no-untyped-def]
    """Puts j, which is not there, where (value descending, index ascending) wants it, if that is before the end."""
    p = len(values)
    while p > 0 and (value > values[p - 1] or (value == values[p - 1] and j < columns[p - 1])):
        if p < len(values):
            values[p] = values[p - 1]
            columns[p] = columns[p - 1]
        p -= 1
    if p < len(values):
        values[p] = value
        columns[p] = j


@compiled(reorder_sums=True)
def _product(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return total
