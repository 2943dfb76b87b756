"""Candidates for the nearest neighbours of a great many images, approximately: trees, then neighbours of neighbours.

Random trees cut the images into leaves of similar ones, and each image is compared with all others of its leaves. Then,
in rounds, each image is compared with the neighbours of its neighbours, and of the images whose neighbour it is: two
that have a neighbour in common are likely to be neighbours. A comparison that an earlier round made is not made again.

Sources: Dong, Moses & Li, *Efficient k-nearest neighbor graph construction for generic similarity measures*, WWW 2011
(NN-descent); Dasgupta & Freund, *Random projection trees and low dimensional manifolds*, STOC 2008.

Shapes: N images, D width of an embedding, W candidates of an image.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.candidates import Candidates
from pipeline.common.kernels import compiled, one_thread_products, over_rows, run

TREES = 16
LEAF = 512  # images in a leaf, at most
ROUNDS = 8  # at most
SETTLED = 0.01  # share of the candidates that a round has replaced; below it there is no other round
JOINED = 46  # neighbours of an image whose neighbours it meets
OFFERED = 30  # neighbours that such a neighbour shows
REVERSE = 15  # images whose neighbour it is, that count as its neighbours
BLOCK = 1024  # rows that a thread takes at a time

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def by_nn_descent(
    embeddings: Floats,
    width: int,
    *,
    groups: Integers | None = None,
    trees: int = TREES,
    rounds: int = ROUNDS,
    threads: int | None = None,
) -> Candidates:
    """About the `width` most similar images of each image; the same for any number of threads.

    Args:
        embeddings: (N, D), L2-normalised.
        width: W, how many, the image itself included, at most N.
        groups: (N,), as in `by_tiles`: images of an image's own group are no candidates. They show the way to others.
        trees: how many; the more, the better the beginning.
        rounds: of neighbours of neighbours, at most; fewer where nearly all candidates stay.
        threads: None is one for each core.
    """
    num_images = len(embeddings)
    # In the order of a tree's leaves neighbours lie near each other in memory.
    order = np.concatenate(list(_leaves(embeddings, 0, threads)))
    near, each = embeddings[order], np.arange(num_images)  # every image a group of its own
    others = None if groups is None else np.ascontiguousarray(groups[order], dtype=np.int64)
    lists = _Lists.empty(num_images, width)
    apart = None if others is None else _Lists.empty(num_images, width)
    for tree in range(trees):
        leaves = list(_leaves(near, tree, threads))
        _compare_in_leaves(near, leaves, each, lists, threads)
        if apart is not None and others is not None:
            _compare_in_leaves(near, leaves, others, apart, threads)
    for _ in range(rounds):
        lists = _descend(near, each, lists, lists, threads)
        if lists.fresh.mean() < SETTLED:
            break
    if apart is not None and others is not None:
        lists.fresh[:] = True
        lists = _descend(near, others, lists, apart, threads)
    values, columns = lists.values, lists.columns
    back = np.empty(num_images, np.int64)
    back[order] = np.arange(num_images)
    counts = np.isfinite(values).sum(axis=1, dtype=np.int32)
    # Nothing is promised about an image that is left out.
    floors = np.full(num_images, -np.inf, np.float32)
    return Candidates(values[back], order.astype(np.int32)[columns[back]], counts[back], floors)


class _Lists(NamedTuple):
    """Candidates so far, the image itself first, then from most to least similar."""

    values: Floats  # (N, W), -inf where there is none
    columns: NDArray[np.int32]  # (N, W) images
    fresh: NDArray[np.bool_]  # (N, W) whether they came in the last round

    @classmethod
    def empty(cls, num_images: int, width: int) -> "_Lists":
        values = np.full((num_images, width), -np.inf, np.float32)
        values[:, 0] = 1
        columns = np.empty((num_images, width), np.int32)
        columns[:] = np.arange(num_images, dtype=np.int32)[:, None]  # itself, as long as nobody else is known
        return cls(values, columns, np.zeros((num_images, width), np.bool_))


def _leaves(embeddings: Floats, tree: int, threads: int | None) -> Iterator[Integers]:
    """The leaves of a random tree: images (n,) each, n at most `LEAF`.

    Every level halves each node at the median of a projection. All nodes of a level are projected on one line, through
    two images: where the images spread, such lines point.
    """
    num_images = len(embeddings)
    depth = max(0, int(np.ceil(np.log2(num_images / LEAF))))
    pairs = np.random.default_rng((1, tree)).integers(0, num_images, (2, depth))
    lines = (embeddings[pairs[0]] - embeddings[pairs[1]]).T  # (D, depth)
    places = np.empty((num_images, depth), np.float32)

    def project(start: int, stop: int) -> None:
        np.matmul(embeddings[start:stop], lines, out=places[start:stop])

    with one_thread_products():
        over_rows(project, num_images, rows=BLOCK, threads=threads)
    order = np.arange(num_images)
    bounds = np.array([0, num_images])
    for level in range(depth):
        middles = (bounds[:-1] + bounds[1:]) // 2

        def halve(start: int, stop: int, level: int = level, bounds: Integers = bounds) -> None:
            for node in range(start, stop):
                images = order[bounds[node] : bounds[node + 1]]
                half = len(images) // 2
                if half:
                    images[:] = images[np.argpartition(places[images, level], half)]

        over_rows(halve, len(middles), rows=max(1, len(middles) // 64), threads=threads)
        bounds = np.sort(np.concatenate([bounds, middles]))
    return (np.sort(order[start:stop]) for start, stop in pairwise(bounds))


def _compare_in_leaves(
    embeddings: Floats, leaves: list[Integers], groups: Integers, lists: _Lists, threads: int | None
) -> None:
    def compare(leaf: Integers) -> None:
        inside = embeddings[leaf]
        _offer(inside @ inside.T, leaf, groups, *lists)

    with one_thread_products():
        run([partial(compare, leaf) for leaf in leaves], threads=threads)


def _descend(embeddings: Floats, groups: Integers, paths: _Lists, lists: _Lists, threads: int | None) -> _Lists:
    """A round: `lists`, with the best that `paths` lead to. What it reads stays, so that no order of threads shows."""
    columns, fresh = paths.columns, paths.fresh
    num_images, width = columns.shape
    joined, offered = min(JOINED, width), min(OFFERED, width)
    behind = np.empty((num_images, REVERSE), np.int32)
    behind_fresh = np.empty((num_images, REVERSE), np.bool_)
    counts = np.zeros(num_images, np.int32)
    _reverse(columns, fresh, joined, behind, behind_fresh, counts)
    new = _Lists(lists.values.copy(), lists.columns.copy(), np.zeros_like(lists.fresh))
    step = partial(_meet, embeddings, groups, columns, fresh, behind, behind_fresh, counts, joined, offered, *new)
    over_rows(step, num_images, rows=BLOCK, threads=threads)
    return new


@compiled
def _offer(products, leaf, groups, values, columns, fresh):  # type: ignore[no-untyped-def]
    """Offers the images of a leaf to each other."""
    last = values.shape[1] - 1
    for r in range(len(leaf)):
        i = leaf[r]
        floor = values[i, last]
        for c in range(len(leaf)):
            if products[r, c] > floor and groups[leaf[c]] != groups[i]:
                _insert(values[i], columns[i], fresh[i], leaf[c], products[r, c])
                floor = values[i, last]


@compiled
def _insert(values, columns, fresh, j, value):  # type: ignore[no-untyped-def]
    """Puts j where (value descending, index ascending) wants it, behind the image itself, unless it is there."""
    p = len(values) - 1
    for q in range(1, len(values)):
        if values[q] == -np.inf:
            break
        if columns[q] == j:
            return
    while p > 1 and (value > values[p - 1] or (value == values[p - 1] and j < columns[p - 1])):
        values[p] = values[p - 1]
        columns[p] = columns[p - 1]
        fresh[p] = fresh[p - 1]
        p -= 1
    values[p] = value
    columns[p] = j
    fresh[p] = True


@compiled
def _reverse(columns, fresh, joined, behind, behind_fresh, counts):  # type: ignore[no-untyped-def]
    """For each image the first of those that have it among their neighbours, the nearer ones before the others."""
    for p in range(1, joined):
        for i in range(len(columns)):
            j = columns[i, p]
            if j != i and counts[j] < behind.shape[1]:
                behind[j, counts[j]] = i
                behind_fresh[j, counts[j]] = fresh[i, p]
                counts[j] += 1


@compiled
def _meet(  # type: ignore[no-untyped-def]
    embeddings, groups, columns, fresh, behind, behind_fresh, counts, joined, offered, values, out, new, start, stop
):
    """Compares the images of some rows with their neighbours' neighbours; `values`, `out` and `new` take the best."""
    seen = np.full(len(embeddings), -1, np.int32)  # by which image it has been met
    last = values.shape[1] - 1
    for i in range(start, stop):
        floor = values[i, last]
        seen[i] = i
        for p in range(out.shape[1]):
            seen[out[i, p]] = i
        for p in range(1, joined + counts[i]):
            own = p < joined
            a = columns[i, p] if own else behind[i, p - joined]
            if a == i:
                continue
            path = fresh[i, p] if own else behind_fresh[i, p - joined]
            if seen[a] != i and groups[a] != groups[i]:
                seen[a] = i
                value = _product(embeddings[i], embeddings[a])
                if value > floor:
                    _insert(values[i], out[i], new[i], a, value)
                    floor = values[i, last]
            for q in range(1, offered + counts[a]):
                theirs = q < offered
                if not path and not (fresh[a, q] if theirs else behind_fresh[a, q - offered]):
                    continue  # an earlier round has compared them
                j = columns[a, q] if theirs else behind[a, q - offered]
                if seen[j] == i or groups[j] == groups[i]:
                    continue
                seen[j] = i
                value = _product(embeddings[i], embeddings[j])
                if value > floor:
                    _insert(values[i], out[i], new[i], j, value)
                    floor = values[i, last]


@compiled(reorder_sums=True)
def _product(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return total
