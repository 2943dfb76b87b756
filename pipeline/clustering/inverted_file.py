"""Candidates for the nearest neighbours of a great many images, approximately: by an inverted file.

k-means cuts the images into small cells. Each image probes the cells whose centroids are nearest to it, and meets the
images of these cells, and also the images that probe its own cell: two images meet where either probes the other's
cell. All comparisons are blocks of matrix products, which a processor computes many times faster than single pairs.
How many cells are probed is decided before the search, on a sample whose true neighbours are computed: as many as let
the sample meet `MET` of them. Where so many would be needed that a search of all pairs is cheaper, it is taken. A round
of NN-descent then finds most of what is still missing (`nn_descent.py`).

Sources: Sivic & Zisserman, *Video Google: a text retrieval approach to object matching in videos*, ICCV 2003 (inverted
files); Jégou, Douze & Schmid, *Product quantization for nearest neighbor search*, TPAMI 2011 (several probes).

Shapes: N images, D width of an embedding, W candidates of an image, K cells, P probes of an image.
"""

from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.best_lists import BestLists, best_of, offer_columns, offer_rows
from pipeline.clustering.candidates import Candidates, by_tiles, hide, no_candidates, take_rows
from pipeline.clustering.nn_descent import descend
from pipeline.common.kernels import compiled, one_thread_products, over_rows, run

CELL = 160  # images in a cell, on average
LEARNED = 20  # images per cell that k-means learns from
UPDATES = 4  # rounds of k-means
SAMPLE = 1000  # images whose true neighbours decide the number of probes
MET = 0.94  # share of the true neighbours that the sample has to meet; the round of NN-descent finds others
MET_ALONE = 0.975  # the same with groups, which no such round follows
MOST_PROBES = 256  # bounds the memory: N P numbers; harder features are found to a smaller share
WORTHWHILE = 1 / 3  # of all N x N products; beyond it, all pairs by tiles, of which half are computed, cost less
STRIPES = 16  # parts of the images that are locked by themselves
BLOCK = 512  # rows of a product, at most

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Indices = NDArray[np.int32]


def by_cells(
    embeddings: Floats, width: int, *, wanted: int, groups: Integers | None = None, threads: int | None = None
) -> Candidates:
    """About the `width` most similar images of each image; the same for any number of threads.

    Args:
        embeddings: (N, D), L2-normalised.
        width: W, how many, the image itself included, at most N.
        wanted: how many of them the sample has to meet, at most W.
        groups: (N,), as in `by_tiles`: images of an image's own group are no candidates.
        threads: None is one for each core.
    """
    num_images = len(embeddings)
    num_cells = num_images // CELL
    if num_cells < 2:
        return by_tiles(embeddings, width, groups=groups, threads=threads)
    with one_thread_products():
        centroids = _centroids(embeddings, num_cells, threads)
        num_probes = _needed_probes(embeddings, centroids, wanted, groups, threads)
        probes = _nearest_cells(embeddings, centroids, num_probes, threads)
    sizes = np.bincount(probes[:, 0], minlength=num_cells)
    visits = np.bincount(probes.ravel(), minlength=num_cells)
    if float(sizes @ visits) > WORTHWHILE * num_images**2:
        return by_tiles(embeddings, width, groups=groups, threads=threads)
    order = np.argsort(probes[:, 0], kind="stable")
    near, probes = embeddings[order], probes[order]
    lists = BestLists.empty(num_images, width)
    with one_thread_products():
        _meet(near, probes, sizes, lists, None if groups is None else groups[order], threads)
    values, columns, counts = best_of(lists, width, threads)
    if groups is None:
        values, columns = descend(near, values, columns, threads=threads)
        counts = np.isfinite(values).sum(axis=1, dtype=np.int32)
    found = no_candidates(num_images, width)  # its floors promise nothing about an image that is left out
    found.values[order], found.columns[order], found.counts[order] = values, order.astype(np.int32)[columns], counts
    return found


def _centroids(embeddings: Floats, num_cells: int, threads: int | None) -> Floats:
    """Centroids (K, D) of k-means on a sample."""
    drawn = np.random.default_rng(1).permutation(len(embeddings))[: num_cells * LEARNED]
    centroids = embeddings[drawn[:num_cells]]
    learned = embeddings[np.sort(drawn)]
    for _ in range(UPDATES):
        labels = np.concatenate(
            over_rows(partial(_nearest_cell, learned, centroids), len(learned), rows=BLOCK, threads=threads)
        )
        counts = np.bincount(labels, minlength=num_cells)
        filled = counts > 0
        starts = (np.cumsum(counts) - counts)[filled]
        sums = np.add.reduceat(learned[np.argsort(labels, kind="stable")], starts, axis=0)
        centroids[filled] = sums / counts[filled, None].astype(np.float32)
    return centroids


def _scores(rows: Floats, centroids: Floats) -> Floats:
    """The nearer a centroid, the higher: half of |x|² - |x - c|²."""
    return rows @ centroids.T - np.float32(0.5) * (centroids**2).sum(axis=1)


def _nearest_cell(embeddings: Floats, centroids: Floats, start: int, stop: int) -> Integers:
    return _scores(embeddings[start:stop], centroids).argmax(axis=1)


def _nearest_cells(embeddings: Floats, centroids: Floats, num_probes: int, threads: int | None) -> Indices:
    """The cells that each image probes (N, P), the nearest first: it is the image's own."""
    cells = np.arange(len(centroids))

    def nearest(start: int, stop: int) -> Indices:
        found = no_candidates(stop - start, 2 * num_probes)
        rows = np.arange(stop - start)
        take_rows(_scores(embeddings[start:stop], centroids), rows, cells, *found, num_probes)
        values = np.where(np.arange(2 * num_probes) < found.counts[:, None], found.values, -np.inf)
        best = np.argsort(-values, axis=1, kind="stable")[:, :num_probes]
        return np.take_along_axis(found.columns, best, axis=1)

    return np.concatenate(over_rows(nearest, len(embeddings), rows=BLOCK, threads=threads))


def _needed_probes(
    embeddings: Floats, centroids: Floats, wanted: int, groups: Integers | None, threads: int | None
) -> int:
    """P: with so many probes the images of a sample meet enough of their `wanted` most similar images."""
    num_images = len(embeddings)
    sample = np.sort(np.random.default_rng(2).permutation(num_images)[:SAMPLE])

    def ranks(start: int, stop: int) -> Integers:
        """How many probes let each pair of an image and a true neighbour meet."""
        rows = sample[start:stop]
        found = no_candidates(stop - start, 2 * wanted)
        for left in range(0, num_images, 4 * BLOCK):
            others = np.arange(left, min(left + 4 * BLOCK, num_images))
            products = embeddings[rows] @ embeddings[others].T
            if groups is not None:
                hide(products, rows, others, groups)
            take_rows(products, np.arange(len(rows)), others, *found, wanted)
        needed = []
        for r, i in enumerate(rows):
            columns = found.columns[r, : found.counts[r]]
            best = np.argsort(-found.values[r, : found.counts[r]], kind="stable")[:wanted]
            theirs = columns[best][columns[best] != i]
            scores = _scores(embeddings[np.concatenate([[i], theirs])], centroids)
            labels = scores.argmax(axis=1)
            there = (scores[0] > scores[0, labels[1:], None]).sum(axis=1)
            back = (scores[1:] > scores[1:, labels[:1]]).sum(axis=1)
            needed.append(np.minimum(there, back) + 1)
        return np.concatenate(needed)

    needed = np.sort(np.concatenate(over_rows(ranks, len(sample), rows=100, threads=threads)))
    if len(needed) == 0:  # all images are of one group, or no other is wanted
        return 1
    met = MET if groups is None else MET_ALONE
    return int(min(needed[int(np.ceil(met * len(needed))) - 1], MOST_PROBES, len(centroids)))


def _meet(
    near: Floats, probes: Indices, sizes: Integers, lists: BestLists, groups: Integers | None, threads: int | None
) -> None:
    """Fills the lists; the images are in the order of their cells."""
    num_cells = len(sizes)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    labels = probes[:, 0].copy()
    visitors_starts = np.zeros(num_cells + 1, np.int64)
    visitors_starts[1:] = np.cumsum(np.bincount(probes[:, 1:].ravel(), minlength=num_cells))
    visitors = np.empty(visitors_starts[-1], np.int32)
    _invert(probes, visitors_starts[:-1].copy(), visitors)
    stripe_of = np.arange(num_cells) * STRIPES // num_cells
    stripe_bounds = bounds[np.searchsorted(stripe_of, np.arange(STRIPES + 1))]
    locks = [Lock() for _ in range(STRIPES)]
    homes = [
        (cell, start, min(start + BLOCK, bounds[cell + 1]))
        for cell in range(num_cells)
        for start in range(bounds[cell], bounds[cell + 1], BLOCK)
    ]

    def products(rows: Integers | Indices, others: Integers) -> Floats:
        out = near[rows] @ near[others[0] : others[-1] + 1].T
        if groups is not None:
            hide(out, rows, others, groups)
        return out

    def at_home(cell: int, start: int, stop: int) -> None:
        """Images of one cell meet each other."""
        rows = np.arange(start, stop)
        for left in range(bounds[cell], bounds[cell + 1], BLOCK):
            others = np.arange(left, min(left + BLOCK, bounds[cell + 1]))
            offer_rows(products(rows, others).view(np.int32), rows, others, *lists)

    def visited(cell: int, start: int, stop: int) -> None:
        """Images that probe a cell meet those that are at home there."""
        others = np.arange(start, stop)
        probed = np.zeros((stop - start, num_cells), np.bool_)
        np.put_along_axis(probed, probes[start:stop].astype(np.int64), True, axis=1)
        guests = visitors[visitors_starts[cell] : visitors_starts[cell + 1]]
        parts = np.searchsorted(guests, stripe_bounds)
        own = int(stripe_of[cell])
        for stripe in (*range(own, STRIPES), *range(own)):
            for left in range(parts[stripe], parts[stripe + 1], BLOCK):
                rows = guests[left : min(left + BLOCK, parts[stripe + 1])]
                ranks = products(rows, others).view(np.int32)
                with locks[stripe]:
                    offer_rows(ranks, rows, others, *lists)
                with locks[own]:
                    offer_columns(ranks, rows, start, probed, labels, *lists)

    run([partial(at_home, *home) for home in homes], threads=threads)
    run([partial(visited, *home) for home in homes], threads=threads)


@compiled
def _invert(probes, free, visitors):  # type: ignore[no-untyped-def]
    """Who probes each cell, those at home there left out, in ascending order; free: where each cell's begin."""
    for i in range(probes.shape[0]):
        for p in range(1, probes.shape[1]):
            cell = probes[i, p]
            visitors[free[cell]] = i
            free[cell] += 1
