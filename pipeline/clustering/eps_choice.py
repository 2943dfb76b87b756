"""Choosing eps without labels: the clusterings of one set of embeddings over a grid of eps and k1.

One sparse distance serves all eps. What a clustering shows without labels: how many clusters it finds, the share of the
images that are outliers, the share that the largest cluster holds, which leaps up when clusters flow together, and the
signals of `signals.py`.

N: images.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.clustering.camera_jaccard import CameraAware, camera_jaccard_distance
from pipeline.clustering.dbscan import dbscan
from pipeline.clustering.jaccard import jaccard_distance
from pipeline.clustering.linked import Units
from pipeline.clustering.neighbours import nearest_neighbours
from pipeline.clustering.signals import cluster_signals
from pipeline.datasets.links import Links

EPS = tuple(round(0.05 * step, 2) for step in range(5, 18))  # 0.25 to 0.85
# A cluster that holds a larger share of the images is taken for many that have flowed together.
LARGEST = 0.25


class Clusterings(NamedTuple):
    """The clusterings of one set of embeddings.

    Attributes:
        table: one row per clustering, see `clusterings`.
        labels: (N,) of each, in the order of the rows; -1 for outliers.
    """

    table: pd.DataFrame
    labels: list[NDArray[np.int64]]


def clusterings(
    embeddings: NDArray[np.float32],
    *,
    eps: Sequence[float] = EPS,
    k1: Sequence[int],
    k2: int,
    min_samples: int,
    neighbours: str = "exact",
    cameras: NDArray[np.int64] | None = None,
    camera_aware: CameraAware | None = None,
    links: Links | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Clusterings:
    """The clusterings of embeddings over a grid of eps and k1, as `pseudo_labels` would find each.

    Args:
        embeddings: (N, D) float32, L2-normalised.
        eps: in (0, 1).
        k1: see `jaccard_distance`; those that are not below N are left out. Not used with `camera_aware`.
        k2: likewise.
        min_samples: see `dbscan`.
        neighbours: see `nearest_neighbours`.
        cameras: (N,), None where they are not known.
        camera_aware: clusters by the camera-aware distance; then `k1` of the table is 0.
        links: are kept, see `pseudo_labels`.
        advance: called after each distance.

    Returns:
        With one row of the table per k1 and eps, in this order: k1, eps, clusters, outliers (share of the images),
        largest (share of the images that are in the largest cluster, 0 without one) and, where cameras are known, the
        signals of cameras.

    Raises:
        ValueError: as its parts; no k1 is below N.
    """
    units = None if links is None else Units.from_links(links)
    sizes_of_units = None if units is None else units.sizes
    rows, found = [], []
    for width, distance in _distances(embeddings, max(eps), k1, k2, neighbours, camera_aware, units):
        for radius in eps:
            labels = dbscan(distance, eps=radius, min_samples=min_samples, weights=sizes_of_units)
            if units is not None:
                labels = units.of_images(units.parted(labels, distance, eps=radius, min_samples=min_samples)[0])
            sizes = np.bincount(labels[labels >= 0])
            rows.append(
                {
                    "k1": width,
                    "eps": radius,
                    "clusters": len(sizes),
                    "outliers": float((labels < 0).mean()),
                    "largest": sizes.max(initial=0) / len(labels),
                    **cluster_signals(labels, cameras=cameras, before=None),
                }
            )
            found.append(labels)
        advance()
    return Clusterings(pd.DataFrame(rows), found)


def _distances(
    embeddings: NDArray[np.float32],
    limit: float,
    k1: Sequence[int],
    k2: int,
    neighbours: str,
    camera_aware: CameraAware | None,
    units: Units | None,
) -> Iterator[tuple[int, sp.csr_array]]:
    """Each k1 with the distances up to `limit` (of the units, where there are any), one after the other.

    They are the largest thing in memory.
    """
    means = embeddings if units is None else units.means(embeddings)
    if camera_aware is not None:
        how = camera_aware if units is None else units.seen_by(camera_aware)
        yield 0, camera_jaccard_distance(means, how, max_distance=limit, method=neighbours)
        return
    usable = [width for width in sorted(set(k1)) if width < len(embeddings)]
    if not usable:
        raise ValueError(f"k1 must be below the number of images, {len(embeddings)}, got {sorted(set(k1))}")
    scaled = int if units is None else units.scaled
    ranks = nearest_neighbours(means, scaled(usable[-1]), method=neighbours)
    for width in usable:
        own_k1, own_k2 = scaled(width), scaled(min(k2, width))
        yield width, jaccard_distance(means, k1=own_k1, k2=own_k2, max_distance=limit, neighbours=ranks)


def suggested(table: pd.DataFrame, *, k1: int, largest: float = LARGEST) -> pd.Series | None:
    """The clustering to begin with: of those with this k1, the one with the most clusters, none of them too large.

    Of equally many clusters, the one with fewer outliers.

    Args:
        table: of `clusterings`.
        k1: as asked for; where the table has none with it, its largest.
        largest: share of the images that a cluster may hold.

    Returns:
        A row of the table, or None: no eps finds two clusters of which none holds more than `largest` of the images.
    """
    widths = table["k1"].unique()
    chosen = table[table["k1"] == (k1 if k1 in widths else widths.max())]
    chosen = chosen[(chosen["clusters"] >= 2) & (chosen["largest"] <= largest)]
    if chosen.empty:
        return None
    return chosen.sort_values(["clusters", "outliers"], ascending=[False, True], kind="stable").iloc[0]
