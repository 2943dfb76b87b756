"""The clustering step as a whole: from embeddings to pseudo labels.

N: images · D: width of the embedding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.dbscan import dbscan
from pipeline.clustering.jaccard import jaccard_distance
from pipeline.clustering.neighbours import is_exact, nearest_neighbours, recall
from pipeline.clustering.reliability import reliable
from pipeline.common.errors import UserError


@dataclass(frozen=True)
class PseudoLabels:
    """What the clustering step found.

    Attributes:
        labels: (N,) clusters 0 .. K - 1, or -1 for outliers.
        neighbour_recall: share of the true neighbours that an approximate search found, on a sample; None for exact.
        num_unreliable: images of clusters that `Reliability` made outliers; None without it.
        independence_threshold: see `Reliability`; None without it.
    """

    labels: NDArray[np.int64] = field(repr=False)
    neighbour_recall: float | None
    num_unreliable: int | None = None
    independence_threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Which clusters are trusted, see `reliability.py`.

    Attributes:
        delta: by which eps is loosened and tightened.
        independent: share of the first epoch's clusters that stay.
        independence_threshold: what the first epoch found; None in that epoch.
    """

    delta: float
    independent: float
    independence_threshold: float | None = None


def pseudo_labels(
    embeddings: NDArray[np.float32],
    *,
    eps: float,
    min_samples: int,
    k1: int,
    k2: int,
    neighbours: str,
    reliability: Reliability | None = None,
    seed: int = 0,
    timed: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> PseudoLabels:
    """Nearest neighbours, Jaccard distance, DBSCAN.

    Args:
        embeddings: (N, D) float32, L2-normalised.
        eps, min_samples: see `dbscan`.
        k1, k2: see `jaccard_distance`.
        neighbours: "exact" or "approximate", see `nearest_neighbours`.
        reliability: leaves only clusters that can be trusted; eps + delta has to be below 1, eps - delta above 0.
        seed: of the sample on which the recall of "approximate" is measured.
        timed: called with the name of each part (neighbours, recall, jaccard, dbscan), which runs in what it returns.

    Raises:
        UserError: k1 is not below N, and there are not two clusters; or as its parts.
        ValueError: as its parts.
    """
    share = None
    with timed("neighbours"):
        ranks = nearest_neighbours(embeddings, k1, method=neighbours)
    if not is_exact(neighbours):
        with timed("recall"):
            share = recall(embeddings, ranks, seed=seed)
    delta = reliability.delta if reliability else 0.0
    with timed("jaccard"):
        distance = jaccard_distance(embeddings, k1=k1, k2=k2, max_distance=eps + delta, neighbours=ranks)
    with timed("dbscan"):
        labels = dbscan(distance, eps=eps, min_samples=min_samples)
        _require_use_of_neighbours(labels, k1)
        if reliability is None:
            return PseudoLabels(labels, share)
        loose, tight = (dbscan(distance, eps=radius, min_samples=min_samples) for radius in (eps + delta, eps - delta))
        kept, threshold = reliable(
            labels,
            loose,
            tight,
            threshold=reliability.independence_threshold,
            independent=reliability.independent,
        )
    return PseudoLabels(kept, share, int(((labels >= 0) & (kept < 0)).sum()), threshold)


def _require_use_of_neighbours(labels: NDArray[np.int64], k1: int) -> None:
    """Raises UserError where nothing is told apart because every image is every other one's neighbour."""
    if k1 >= len(labels) and labels.max(initial=-1) < 1:
        found = "no cluster" if (labels < 0).all() else "one cluster alone"
        raise UserError(
            f"{found} among {len(labels)} images: with k1 {k1} every image is every other one's neighbour: "
            "lower clustering.k1"
        )
