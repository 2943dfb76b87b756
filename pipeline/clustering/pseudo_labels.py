"""The clustering step as a whole: from embeddings to pseudo labels.

N: images · D: width of the embedding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.clustering.camera_jaccard import CameraAware, camera_jaccard_distance, camera_neighbours
from pipeline.clustering.dbscan import OUTLIER, dbscan
from pipeline.clustering.jaccard import jaccard_distance
from pipeline.clustering.linked import Units
from pipeline.clustering.neighbours import is_exact, nearest_neighbours, recall
from pipeline.clustering.outliers import without_gaps
from pipeline.clustering.reliability import reliable
from pipeline.clustering.silhouette import silhouette
from pipeline.common.errors import UserError
from pipeline.datasets.links import Links

Timed = Callable[[str], AbstractContextManager[object]]  # runs and times a named part of the clustering


@dataclass(frozen=True)
class PseudoLabels:
    """What the clustering step found.

    Attributes:
        labels: (N,) clusters 0 .. K - 1, or -1 for outliers.
        neighbour_recall: share of the true neighbours that an approximate search found, on a sample; None for exact.
        num_unreliable: images of clusters that `Reliability` made outliers; None without it.
        independence_threshold: see `Reliability`; None without it.
        silhouette: see `silhouette`; None where there are fewer than two clusters.
        num_links_mended: cannot-links that the clusters had not kept before they were split; None without links.
    """

    labels: NDArray[np.int64] = field(repr=False)
    neighbour_recall: float | None
    num_unreliable: int | None = None
    independence_threshold: float | None = None
    num_links_mended: int | None = None
    silhouette: float | None = None


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
    camera_aware: CameraAware | None = None,
    links: Links | None = None,
    seed: int = 0,
    timed: Timed = nullcontext,
) -> PseudoLabels:
    """Nearest neighbours, Jaccard distance, DBSCAN.

    Args:
        embeddings: (N, D) float32, L2-normalised.
        eps, min_samples: see `dbscan`.
        k1, k2: see `jaccard_distance`; not used with `camera_aware`.
        neighbours: "exact" or "approximate", see `nearest_neighbours`.
        reliability: leaves only clusters that can be trusted; eps + delta has to be below 1, eps - delta above 0.
        camera_aware: clusters by the camera-aware distance, see `camera_jaccard_distance`.
        links: keeps them, every one, see `linked.py`; then k1 and k2 shrink with the number of units.
        seed: of the sample on which the recall of "approximate" is measured.
        timed: called with the name of each part (neighbours, recall, jaccard, dbscan), which runs in what it returns.

    Raises:
        UserError: k1 is not below N, and there are not two clusters; or as its parts.
        ValueError: as its parts.
    """
    delta = reliability.delta if reliability else 0.0
    units, sizes = None, None
    if links is not None:
        units = Units.from_links(links)
        embeddings, sizes, k1, k2 = units.means(embeddings), units.sizes, units.scaled(k1), units.scaled(k2)
        camera_aware = camera_aware and units.seen_by(camera_aware)
    if camera_aware is None:
        distance, share = _plain(embeddings, k1, k2, eps + delta, neighbours, seed, timed)
    else:
        distance, share = _camera_aware(embeddings, camera_aware, eps + delta, neighbours, seed, timed)
    with timed("dbscan"):
        labels = dbscan(distance, eps=eps, min_samples=min_samples, weights=sizes)
        if camera_aware is None and len(labels) > 1:
            _require_use_of_neighbours(labels, k1)
        num_unreliable = threshold = broken = None
        if reliability is not None:
            radii = (eps + delta, eps - delta)
            others = [dbscan(distance, eps=r, min_samples=min_samples, weights=sizes) for r in radii]
            labels, num_unreliable, threshold = _trusted([labels, *others], reliability, units)
        if units is not None:
            labels, broken = units.parted(labels, distance, eps=eps, min_samples=min_samples)
        apart = silhouette(labels, distance)
        if units is not None:
            labels = units.of_images(labels)
    return PseudoLabels(labels, share, num_unreliable, threshold, broken, apart)


def _trusted(
    clusterings: list[NDArray[np.int64]], reliability: Reliability, units: Units | None
) -> tuple[NDArray[np.int64], int, float | None]:
    """The labels of the first clustering that can be trusted by a looser and a tighter one; see `PseudoLabels`.

    A unit of which one image cannot be trusted is an outlier as a whole.
    """
    images = clusterings if units is None else [units.of_images(each) for each in clusterings]
    kept, threshold = reliable(
        *images, threshold=reliability.independence_threshold, independent=reliability.independent
    )
    lost = (images[0] >= 0) & (kept < 0)
    if units is not None:
        kept = clusterings[0].copy()
        kept[units.of[lost]] = OUTLIER
        kept = without_gaps(kept)
    return kept, int(lost.sum()), threshold


def _plain(
    embeddings: NDArray[np.float32], k1: int, k2: int, limit: float, neighbours: str, seed: int, timed: Timed
) -> tuple[sp.csr_array, float | None]:
    """The Jaccard distances up to `limit`, and the recall of an approximate search."""
    share = None
    with timed("neighbours"):
        ranks = nearest_neighbours(embeddings, k1, method=neighbours)
    if not is_exact(neighbours):
        with timed("recall"):
            share = recall(embeddings, ranks, seed=seed)
    with timed("jaccard"):
        return jaccard_distance(embeddings, k1=k1, k2=k2, max_distance=limit, neighbours=ranks), share


def _camera_aware(
    embeddings: NDArray[np.float32], how: CameraAware, limit: float, neighbours: str, seed: int, timed: Timed
) -> tuple[sp.csr_array, float | None]:
    """As `_plain`; the recall is that of the search in other cameras, which is the harder one."""
    share = None
    with timed("neighbours"):
        ranks = camera_neighbours(embeddings, how, method=neighbours)
    if not is_exact(neighbours):
        with timed("recall"):
            with_self = np.concatenate([ranks.intra[:, :1], ranks.inter], axis=1).astype(np.int64)
            share = recall(embeddings, with_self, groups=how.cameras, seed=seed)
    with timed("jaccard"):
        return camera_jaccard_distance(embeddings, how, max_distance=limit, neighbours=ranks), share


def _require_use_of_neighbours(labels: NDArray[np.int64], k1: int) -> None:
    """Raises UserError where nothing is told apart because every image is every other one's neighbour."""
    if k1 >= len(labels) and labels.max(initial=-1) < 1:
        found = "no cluster" if (labels < 0).all() else "one cluster alone"
        raise UserError(
            f"{found} among {len(labels)} images: with k1 {k1} every image is every other one's neighbour: "
            "lower clustering.k1"
        )
