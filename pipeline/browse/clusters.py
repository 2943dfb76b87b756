"""The clusters as the page shows them: those of the last run, changed by what was decided since.

N: training images · K: clusters · D: width of an embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.browse.actions import Action
from pipeline.datasets.links import Link

SORTS = ("doubt", "size", "number")


@dataclass(frozen=True)
class Cluster:
    """One cluster.

    Attributes:
        number: stays while the page is open.
        rows: of its images, those most like its mean first.
        cameras: how many took them; None where they are not known.
        spread: mean cosine distance of its images from its mean.
        nearest: number of the cluster whose mean is most like its own, and `gap`, their cosine distance; None for one.
        doubt: spread by gap: the larger, the likelier the cluster is wrong; one of a single camera counts double.
    """

    number: int
    rows: NDArray[np.int64] = field(repr=False)
    cameras: int | None
    spread: float
    nearest: int | None
    gap: float | None
    doubt: float


def replayed(labels: NDArray[np.int64], paths: Sequence[str], actions: Sequence[Action]) -> NDArray[np.int64]:
    """The clusters after the decisions: numbers that were there stay, new ones follow.

    Args:
        labels: (N,) of the last run, -1 for outliers.
        paths: of the N images.
        actions: in their order. An image that is not there any more is passed over.
    """
    now = labels.copy()
    row = {path: number for number, path in enumerate(paths)}
    following = int(now.max(initial=-1)) + 1
    for action in actions:
        links = [link for link in action.links if all(path in row for path in link.paths)]
        if action.name == "split":
            moved = _still_together(now, row, links)
            if moved:
                now[moved] = following
                following += 1
            continue
        for link in links:
            if link.kind == "outlier":
                now[row[link.path_a]] = -1
            if link.kind != "must_link":
                continue
            one, other = row[link.path_a], row[link.path_b]
            for place in (one, other):
                if now[place] < 0:
                    now[place] = following
                    following += 1
            now[now == now[other]] = now[one]
    return now


def _still_together(now: NDArray[np.int64], row: Mapping[str, int], links: Sequence[Link]) -> list[int]:
    """The images of a split that are in a cluster with one that they were parted from: none, once a run has used it."""
    marked = {row[link.path_a] for link in links} | {row[link.path_b] for link in links if link.kind == "must_link"}
    rest = [row[link.path_b] for link in links if link.kind == "cannot_link"]
    shared = set(now[rest].tolist()) - {-1}
    return sorted(place for place in marked if int(now[place]) in shared)


def described(
    labels: NDArray[np.int64], embeddings: NDArray[np.float32], cameras: NDArray[np.int64] | None
) -> list[Cluster]:
    """Every cluster of the labels (N,), by its number.

    Args:
        labels: (N,), -1 for outliers, which are in none.
        embeddings: (N, D), L2-normalised.
        cameras: (N,), None where they are not known.
    """
    numbers, place = np.unique(labels[labels >= 0], return_inverse=True)
    members = np.flatnonzero(labels >= 0)
    if len(numbers) == 0:
        return []
    means = _means(labels, embeddings)
    cosines = np.einsum("nd,nd->n", embeddings[members], means[place])
    nearest, gaps = _nearest(means)
    clusters = []
    for k, number in enumerate(numbers.tolist()):
        inside = np.flatnonzero(place == k)
        rows = members[inside[np.argsort(-cosines[inside], kind="stable")]]
        seen = None if cameras is None else len(np.unique(cameras[rows]))
        spread = float(1 - cosines[inside].mean())
        gap = None if len(numbers) == 1 else float(gaps[k])
        doubt = 0.0 if gap is None else spread / max(gap, 1e-6) * (2 if seen == 1 else 1)
        other = None if gap is None else int(numbers[nearest[k]])
        clusters.append(Cluster(number, rows, seen, spread, other, gap, doubt))
    return clusters


def nearest_clusters(
    labels: NDArray[np.int64], embeddings: NDArray[np.float32], rows: int = 2048
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Images in no cluster, the likeliest first: their rows, the cluster whose mean is most like each, and the cosine.

    Args:
        labels: (N,), -1 for outliers.
        embeddings: (N, D), L2-normalised.
        rows: images at a time.

    Returns:
        (R,) each; where there is no cluster, -1 and -1 in place of its number and cosine.
    """
    alone, numbers = np.flatnonzero(labels < 0), np.unique(labels[labels >= 0])
    nearest, cosines = np.full(len(alone), -1), np.full(len(alone), -1, np.float32)
    if len(numbers) == 0:
        return alone, nearest, cosines
    means = _means(labels, embeddings)
    for start in range(0, len(alone), rows):
        products = embeddings[alone[start : start + rows]] @ means.T
        nearest[start : start + rows] = numbers[products.argmax(axis=1)]
        cosines[start : start + rows] = products.max(axis=1)
    order = np.argsort(-cosines, kind="stable")
    return alone[order], nearest[order], cosines[order]


def sorted_by(clusters: Sequence[Cluster], sort: str) -> list[Cluster]:
    """The clusters in one of the orders of `SORTS`: the most doubtful, the largest, or the lowest number first."""
    keys = {"doubt": lambda c: -c.doubt, "size": lambda c: -len(c.rows), "number": lambda c: c.number}
    return sorted(clusters, key=lambda cluster: (keys[sort](cluster), cluster.number))


def _means(labels: NDArray[np.int64], embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, D) the normalised means of the clusters, by their numbers; there is one at least."""
    numbers, place = np.unique(labels[labels >= 0], return_inverse=True)
    members = np.flatnonzero(labels >= 0)
    ones = np.ones(len(members), np.float32)
    sums = sp.csr_array((ones, (place, members)), shape=(len(numbers), len(labels))) @ embeddings
    means: NDArray[np.float32] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-12))
    return means


def _nearest(means: NDArray[np.float32], rows: int = 2048) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most similar other mean of each (K,), and their cosine distance."""
    nearest, gaps = np.zeros(len(means), np.int64), np.ones(len(means))
    for start in range(0, len(means), rows):
        products = means[start : start + rows] @ means.T
        products[np.arange(len(products)), np.arange(start, start + len(products))] = -2
        nearest[start : start + rows] = products.argmax(axis=1)
        gaps[start : start + rows] = 1 - products.max(axis=1)
    return nearest, gaps
