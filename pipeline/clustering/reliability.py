"""Which clusters are trusted (SpCL's self-paced criterion): those that stand alone, and in them the images close by.

With I the cluster of image i at eps, I_loose that at eps + delta and I_tight that at eps - delta, as sets of images:

    independence(i) = |I ∩ I_loose| / |I ∪ I_loose|       1: the cluster swallows nothing when eps grows
    compactness(i)  = |I ∩ I_tight| / |I ∪ I_tight|       1: it loses nothing when eps shrinks

A cluster stays if its independence (the minimum over its images) reaches a threshold. The first epoch sets the
threshold so that a given share of its clusters stays; later epochs keep it. In a cluster that stays, the images of the
highest compactness stay. All others become outliers.

Ge et al., "Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID", NeurIPS 2020
(arXiv 2006.02713), section 3.3.

N: images · K: clusters.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.dbscan import OUTLIER
from pipeline.clustering.outliers import outliers_alone, without_gaps


def reliable(
    labels: NDArray[np.int64],
    loose: NDArray[np.int64],
    tight: NDArray[np.int64],
    *,
    threshold: float | None,
    independent: float,
) -> tuple[NDArray[np.int64], float | None]:
    """The clusters that are left when those that cannot be trusted are taken apart.

    Args:
        labels: clusters 0 .. K - 1 at eps, -1 for outliers, of shape (N,).
        loose: the same images clustered with a larger eps, of shape (N,).
        tight: with a smaller one, of shape (N,).
        threshold: of independence that a cluster has to reach; None in the first epoch.
        independent: in (0, 1], the share of the clusters that reach it in the first epoch.

    Returns:
        clusters 0 .. K' - 1 in their old order, -1 for all other images, of shape (N,); and the threshold, None as
        long as there has been no cluster.
    """
    assert labels.shape == loose.shape == tight.shape and labels.ndim == 1
    clustered = labels != OUTLIER
    if not clustered.any():
        return labels.copy(), threshold
    num_clusters = int(labels.max()) + 1
    mine = labels[clustered]
    independence = np.full(num_clusters, np.inf)
    np.minimum.at(independence, mine, _overlap(labels, loose)[clustered])
    if threshold is None:
        wanted = math.ceil(independent * num_clusters)
        threshold = float(np.sort(independence)[num_clusters - wanted])
    compactness = _overlap(labels, tight)
    highest = np.zeros(num_clusters)
    np.maximum.at(highest, mine, compactness[clustered])
    stays = clustered.copy()
    stays[clustered] = (independence[mine] >= threshold) & (compactness[clustered] >= highest[mine])
    return without_gaps(np.where(stays, labels, OUTLIER)), threshold


def _overlap(some: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each image's cluster in two clusterings, of shape (N,); an outlier is alone."""
    some, other = outliers_alone(some), outliers_alone(other)
    _, pair, together = np.unique(np.stack([some, other]), axis=1, return_inverse=True, return_counts=True)
    common = together[pair.reshape(-1)]
    return np.asarray(common / (np.bincount(some)[some] + np.bincount(other)[other] - common), dtype=np.float64)
