"""The k nearest neighbours of every image by cosine.

Exact and the same everywhere: candidates come from matrix products (`candidates.py`), whose last bits depend on the
machine; each candidate is then scored again by a sum in double precision, rounded once, and ranked by (similarity
descending, index ascending). Equal images so have equal similarities, and ties follow the order of the catalogue.

Shapes: N images, D width of an embedding, k neighbours.
"""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.clustering.candidates import Candidates, by_tiles, device_search, hide
from pipeline.clustering.checks import checked
from pipeline.clustering.inverted_file import by_cells
from pipeline.common.device import num_gpus
from pipeline.common.kernels import compiled, over_rows

METHODS = ("exact", "approximate")

SPARE = 16  # candidates beyond k, so that ties and near-ties seldom need a second look
BLOCK = 256  # rows that a thread takes at a time
PRODUCTS = 2**24  # products of a second look at a time: 64 MiB


def nearest_neighbours(
    features: Any,
    k: int,
    *,
    method: str = "exact",
    groups: NDArray[np.int64] | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """The k most similar images of each image, the image itself first, the others from most to least similar.

    Args:
        features: (N, D) float32, L2-normalised rows, numpy or torch; never modified.
        k: how many, itself included; where there are fewer than k images, all of them.
        method: "exact", or "approximate": by an inverted file (see `recall`), for more than about 200,000 images on a
            CPU. On a GPU the exact search is the faster one, and is taken for both (see `is_exact`).
        groups: (N,), such as cameras: images of an image's own group are no neighbours of it (the image itself is).
        device: where the exact search multiplies; None is "cuda" where there is a GPU, else "cpu".
        threads: None is one for each core. The result does not depend on it.

    Returns:
        (N, min(k, N)) int64; with `groups`, -1 behind the last where there are fewer than k.

    Raises:
        ValueError: features of another shape or type or not normalised, k below 1, unknown method.
        UserError: features that are not finite.
    """
    embeddings = checked(features)
    if method not in METHODS:
        raise ValueError(f"neighbours must be one of {', '.join(METHODS)}, got {method!r}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    num_images = len(embeddings)
    k = min(k, num_images)
    if num_images == 0:
        return np.empty((0, 0), np.int64)
    width = min(k + SPARE, num_images)
    device = device or _usual_device()
    if not is_exact(method, device):
        found = by_cells(embeddings, width, wanted=k, groups=groups, threads=threads)
    elif device == "cpu":
        found = by_tiles(embeddings, width, groups=groups, threads=threads)
    else:
        tensor = features if isinstance(features, torch.Tensor) else torch.tensor(embeddings)
        found = device_search()(tensor.detach().to(device), width, groups=groups)
    return _ranked(embeddings, found, k, threads, groups)


def is_exact(method: str, device: str | None = None) -> bool:
    """Whether `nearest_neighbours` is exact; device as there."""
    return method == "exact" or (device or _usual_device()) != "cpu"


def _usual_device() -> str:
    return "cuda" if num_gpus() else "cpu"


def recall(
    features: Any,
    neighbours: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None = None,
    sample: int = 1000,
    seed: int = 0,
) -> float:
    """The share of the true neighbours that an approximate search found, over a random sample of images.

    Args:
        features: (N, D) as searched.
        neighbours: (N, k) as found; the first column, the image itself, does not count.
        groups: (N,), as searched.
        sample: how many images; all where there are fewer.
        seed: of the sample.

    Returns:
        In [0, 1]; 1 where there is nothing to find.

    Raises:
        ValueError: as `nearest_neighbours`; neighbours of another shape.
    """
    embeddings = checked(features)
    num_images = len(embeddings)
    if neighbours.ndim != 2 or len(neighbours) != num_images or neighbours.shape[1] > num_images:
        raise ValueError(
            f"neighbours must be ({num_images}, k) with k up to {num_images}, got shape {neighbours.shape}"
        )
    k = neighbours.shape[1]
    if k < 2:
        return 1.0
    rows = np.random.default_rng(seed).permutation(num_images)[:sample]
    truth = np.empty((len(rows), k), np.int64)
    _look_again(embeddings, rows, truth, groups, None)
    hits = (truth[:, 1:, None] == neighbours[rows][:, None, 1:]).any(axis=2)
    return float(hits.mean())


def _ranked(
    embeddings: NDArray[np.float32],
    found: Candidates,
    k: int,
    threads: int | None,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The best k candidates of each row; rows whose candidates do not suffice are searched once more."""
    num_images = len(embeddings)
    indices = np.empty((num_images, k), np.int64)
    settled = np.zeros(num_images, np.bool_)
    slack = _slack(embeddings)

    def rank_block(start: int, stop: int) -> float:
        bounds = _largest(found.values[start:stop], k) - slack
        return _rank(embeddings, *found, bounds, indices, settled, start, stop)

    error = max(over_rows(rank_block, num_images, rows=BLOCK, threads=threads))
    assert 2 * error <= slack, f"matrix products off by {error}: coarser than float32"
    rows = np.flatnonzero(~settled)
    again = np.empty((len(rows), k), np.int64)
    _look_again(embeddings, rows, again, groups, threads)
    indices[rows] = again
    return indices


def _slack(embeddings: NDArray[np.float32]) -> np.float32:
    """More than a float32 matrix product of unit vectors can be off by.

    A sum of D terms that never exceeds 1 is rounded D times by at most 2**-25; errors of random sign add up to
    a multiple of sqrt(D) 2**-25. This allows sixteen times that for the two numbers of a comparison.
    """
    return np.float32(2**-21 * math.sqrt(embeddings.shape[1]))


def _largest(values: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The k-th largest value of each row."""
    place = values.shape[1] - k
    return np.partition(values, place, axis=1)[:, place]


def _look_again(
    embeddings: NDArray[np.float32],
    rows: NDArray[np.int64],
    out: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    threads: int | None,
) -> None:
    """Fills `out` with the exact neighbours of some rows, whatever the number of ties; -1 where there are no more."""
    out[:] = -1
    numbers = np.arange(len(embeddings))
    slack = _slack(embeddings)
    at_once = max(1, PRODUCTS // max(1, len(embeddings)))
    for first in range(0, len(rows), at_once):
        block = rows[first : first + at_once]
        products = embeddings[block] @ embeddings.T
        if groups is not None:
            hide(products, block, numbers, groups)
        bounds = np.maximum(_largest(products, out.shape[1]) - slack, np.float32(-2))  # above what is hidden
        step = partial(_rank_all, embeddings, products, block, bounds, out[first : first + at_once])
        over_rows(step, len(block), rows=16, threads=threads)


def similarities(
    embeddings: NDArray[np.float32],
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    *,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """The similarities of chosen pairs: of image i with `columns[j]`, starts[i] <= j < starts[i + 1]."""
    out = np.empty(len(columns), np.float32)
    # Most pairs are chosen from both sides: the later image's row looks up what the earlier one's has computed.
    for step in (_fill_later, _fill_earlier):
        step = partial(step, embeddings, starts, columns, out)
        over_rows(step, len(embeddings), rows=BLOCK, threads=threads)
    return out


@compiled
def _fill_later(embeddings, starts, columns, out, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for at in range(starts[i], starts[i + 1]):
            if columns[at] >= i:
                out[at] = _similarity(embeddings[i], embeddings[columns[at]])


@compiled
def _fill_earlier(embeddings, starts, columns, out, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for at in range(starts[i], starts[i + 1]):
            j = columns[at]
            if j < i:
                mirrored = starts[j]
                while mirrored < starts[j + 1] and columns[mirrored] != i:
                    mirrored += 1
                if mirrored < starts[j + 1]:
                    out[at] = out[mirrored]
                else:
                    out[at] = _similarity(embeddings[i], embeddings[j])


@compiled(reorder_sums=True)
def _similarity(a, b):  # type: ignore[no-untyped-def]
    # Products of two float32 are exact in float64, and the sum's error vanishes when it is rounded to float32.
    total = 0.0
    for d in range(len(a)):
        total += np.float64(a[d]) * np.float64(b[d])
    return np.float32(total)


@compiled
def _rank(embeddings, values, columns, counts, floors, bounds, indices, settled, start, stop):  # type: ignore[no-untyped-def]
    """Fills the rows whose candidates suffice; the largest error of a product that it met."""
    k = indices.shape[1]
    similarities = np.empty(k, np.float32)
    error = np.float32(0)
    for i in range(start, stop):
        bound = bounds[i - start]
        if counts[i] < k or floors[i] >= bound:
            continue  # an image that was left out may belong to the k
        filled = 1
        indices[i, 0] = i
        for p in range(counts[i]):
            j = columns[i, p]
            if j != i and values[i, p] >= bound:
                similarity = _similarity(embeddings[i], embeddings[j])
                filled = _insert(indices[i], similarities, filled, j, similarity)
                error = max(error, abs(similarity - values[i, p]))
        settled[i] = True
    return error


@compiled
def _rank_all(embeddings, products, rows, bounds, indices, start, stop):  # type: ignore[no-untyped-def]
    similarities = np.empty(indices.shape[1], np.float32)
    for r in range(start, stop):
        i = rows[r]
        filled = 1
        indices[r, 0] = i
        for j in range(products.shape[1]):
            if j != i and products[r, j] >= bounds[r]:
                filled = _insert(indices[r], similarities, filled, j, _similarity(embeddings[i], embeddings[j]))


@compiled
def _insert(indices, similarities, filled, j, similarity):  # type: ignore[no-untyped-def]
    """Puts j where (similarity descending, index ascending) wants it, behind the image itself."""
    k = len(indices)
    if filled == k:
        last = k - 1
        if last == 0 or similarity < similarities[last] or (similarity == similarities[last] and j > indices[last]):
            return filled
        p = last
    else:
        p = filled
        filled += 1
    while p > 1 and (similarity > similarities[p - 1] or (similarity == similarities[p - 1] and j < indices[p - 1])):
        similarities[p] = similarities[p - 1]
        indices[p] = indices[p - 1]
        p -= 1
    similarities[p] = similarity
    indices[p] = j
    return filled
