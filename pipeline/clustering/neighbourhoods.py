"""The soft neighbourhood of every image: the matrix V of the k-reciprocal encoding, by rows.

Source: Zhong, Zheng, Cao & Li, *Re-ranking person re-identification with k-reciprocal encoding*, CVPR 2017.

Shapes: N images, D width of an embedding, k1 columns of the ranking.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.neighbours import similarities
from pipeline.common.kernels import compiled, over_rows


class Rows(NamedTuple):
    """A sparse matrix by rows: row i holds `weights[j]` in `columns[j]`, starts[i] <= j < starts[i + 1]."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    weights: NDArray[np.float32]


def soft_neighbourhoods(
    embeddings: NDArray[np.float32], rank: NDArray[np.int32], *, k2: int, threads: int | None = None
) -> Rows:
    """V (N, N): each row the weights of an image's neighbourhood, positive, of sum 1.

    R(i, k) are those j among the first k of rank[i] that have i among the first k of rank[j]. The neighbourhood of i
    is R(i, k1) and, of each c in it, the half set H(c) = R(c, k1 / 2 + 1) if more than two thirds of H(c) lie in
    R(i, k1). V[i] is the softmax of the negative squared distances -(2 - 2 cos) over the neighbourhood, then averaged
    over the images rank[i, :k2].

    Args:
        embeddings: (N, D), rows of length 1.
        rank: (N, k1) nearest neighbours, self first.
        k2: 1 leaves out the averaging.
        threads: None is one for each core.
    """
    k1 = rank.shape[1]
    sets = expanded_sets(rank, num_half=round(k1 / 2) + 1, threads=threads)
    return softened(embeddings, *sets, near=rank[:, :k2] if k2 > 1 else None, threads=threads)


def softened(
    embeddings: NDArray[np.float32],
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    *,
    near: NDArray[np.int32] | None,
    threads: int | None = None,
) -> Rows:
    """V (N, N) of given neighbourhoods: the softmax of -(2 - 2 cos) over each, then averaged.

    Args:
        embeddings: (N, D), rows of length 1.
        starts, columns: the neighbourhoods, as `expanded_sets` gives them; none is empty.
        near: (N, k2) images over whose rows a row is averaged, -1 for none; None leaves out the averaging.
        threads: None is one for each core.
    """
    num_images = len(embeddings)
    weights = similarities(embeddings, starts, columns, threads=threads)
    rows = block_rows(num_images)
    over_rows(partial(_softmax_, starts, weights), num_images, rows=rows, threads=threads)
    V = Rows(starts, columns, weights)
    if near is not None:
        V = joined(over_rows(partial(_average, *V, near), num_images, rows=rows, threads=threads))
    return V


def expanded_sets(
    rank: NDArray[np.int32], *, num_half: int, threads: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The neighbourhoods of `soft_neighbourhoods`: that of image i is columns[starts[i] : starts[i + 1]].

    Args:
        rank: (N, k1) nearest neighbours, self first.
        num_half: columns of `rank` that the half sets look at: k1 / 2 rounded half to even, as the published results
            did, and 1; at most k1.
        threads: None is one for each core.

    Returns:
        starts (N + 1,) and columns, those of an image in the order in which they were found.
    """
    num_images, k1 = rank.shape
    full = np.full((num_images, k1), -1, np.int32)  # R(i, k1), then -1
    half = np.full((num_images, min(num_half, k1)), -1, np.int32)  # H(i), then -1
    rows = block_rows(num_images)
    over_rows(partial(_reciprocal, rank, full, half), num_images, rows=rows, threads=threads)
    sets = over_rows(partial(_expand, full, half), num_images, rows=rows, threads=threads)
    return joined_sets(sets)


def block_rows(num_images: int) -> int:
    """Rows that a thread takes at a time: each time it clears a workspace of N numbers, so they grow with N."""
    return max(256, num_images // 256)


def joined_sets(
    blocks: list[tuple[NDArray[np.int64], NDArray[np.int32]]],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """All sets from blocks of rows, each block the lengths and the members of its sets."""
    return _starts([lengths for lengths, _ in blocks]), np.concatenate([found for _, found in blocks])


def joined(blocks: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]]) -> Rows:
    """One matrix from blocks of rows, each block the lengths, columns and weights of its rows."""
    lengths, columns, weights = zip(*blocks, strict=True)
    return Rows(_starts(lengths), np.concatenate(columns), np.concatenate(weights))


def _starts(lengths: list[NDArray[np.int64]] | tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    return np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))


@compiled
def _reciprocal(rank, full, half, start, stop):  # type: ignore[no-untyped-def]
    num_half = half.shape[1]
    for i in range(start, stop):
        num_full_members = 0
        num_half_members = 0
        for p in range(rank.shape[1]):
            j = rank[i, p]
            for q in range(rank.shape[1]):
                if rank[j, q] == i:
                    full[i, num_full_members] = j
                    num_full_members += 1
                    if p < num_half and q < num_half:
                        half[i, num_half_members] = j
                        num_half_members += 1
                    break


@compiled
def _expand(full, half, start, stop):  # type: ignore[no-untyped-def]
    """The lengths and the members of the expanded sets."""
    num_images = len(full)
    core = np.full(num_images, -1, np.int32)  # core[j] == i: j is in R(i, k1)
    taken = np.full(num_images, -1, np.int32)  # taken[j] == i: j is in the expanded set of i
    lengths = np.zeros(stop - start, np.int64)
    most = full.shape[1] * (1 + half.shape[1])  # members of a set
    columns = np.empty((stop - start) * 64 + most, np.int32)
    used = 0
    for i in range(start, stop):
        if used + most > len(columns):
            columns = np.concatenate((columns, np.empty(len(columns), np.int32)))
        first = used
        for p in range(full.shape[1]):
            j = full[i, p]
            if j < 0:
                break
            core[j] = i
            taken[j] = i
            columns[used] = j
            used += 1
        for c in columns[first:used]:
            size = 0
            shared = 0
            while size < half.shape[1] and half[c, size] >= 0:
                shared += core[half[c, size]] == i
                size += 1
            if 3 * shared > 2 * size:
                for j in half[c, :size]:
                    if taken[j] != i:
                        taken[j] = i
                        columns[used] = j
                        used += 1
        lengths[i - start] = used - first
    return lengths, columns[:used].copy()


@compiled
def _softmax_(starts, weights, start, stop):  # type: ignore[no-untyped-def]
    """From similarities to weights, row by row; the exponents are in [-4, 0]."""
    for i in range(start, stop):
        row = weights[starts[i] : starts[i + 1]]
        total = np.float32(0)
        for p in range(len(row)):
            row[p] = np.exp(2 * row[p] - 2)
            total += row[p]
        for p in range(len(row)):
            row[p] /= total


@compiled
def _average(starts, columns, weights, near, start, stop):  # type: ignore[no-untyped-def]
    """The mean of the rows of each image's nearest neighbours."""
    num_images = len(starts) - 1
    total = np.zeros(num_images, np.float32)
    lengths = np.zeros(stop - start, np.int64)
    out_columns = np.empty((stop - start) * 64, np.int32)
    out_weights = np.empty((stop - start) * 64, np.float32)
    used = 0
    for i in range(start, stop):
        most = used
        num_near = 0
        for j in near[i]:
            if j >= 0:
                most += starts[j + 1] - starts[j]
                num_near += 1
        if most > len(out_columns):
            out_columns = np.concatenate((out_columns, np.empty(most, np.int32)))
            out_weights = np.concatenate((out_weights, np.empty(most, np.float32)))
        first = used
        for j in near[i]:
            if j < 0:
                continue
            for at in range(starts[j], starts[j + 1]):
                n = columns[at]
                if total[n] == 0:  # not met in this row: weights are positive
                    out_columns[used] = n
                    used += 1
                total[n] += weights[at]
        for at in range(first, used):
            out_weights[at] = total[out_columns[at]] / np.float32(num_near)
            total[out_columns[at]] = 0
        lengths[i - start] = used - first
    return lengths, out_columns[:used].copy(), out_weights[:used].copy()
