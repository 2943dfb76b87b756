"""What one epoch of a training did.

N: training images · K: clusters.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one epoch did.

    Attributes:
        epoch: from 0.
        eps: DBSCAN's radius in this epoch.
        learning_rate: the optimizer's in this epoch.
        num_clusters: K.
        num_outliers: images that are in no cluster.
        loss, loss_hard, loss_soft: means over the steps of the total, L_c and L_ss.
        loss_proxies: likewise, before its weight; None without camera proxies.
        images_per_second: of the steps, over all processes.
        seconds: of each part of the epoch: extract, neighbours, jaccard, dbscan, train, and recall where measured.
        labels: pseudo labels of shape (N,), -1 for outliers.
        distance_within, distance_between: see `cluster_spread`; None where there is no cluster, or no other.
        num_links_mended: cannot-links that the clusters had not kept before they were split; None without links.
        num_unreliable: images that SpCL took out of clusters; they count as outliers. None for other methods.
        neighbour_recall: share of the true neighbours that an approximate search found, on a sample; else None.
        silhouette: see `PseudoLabels`.
        camera_entropy, single_camera, ari_last_epoch: see `cluster_signals`; None where they cannot be known.
    """

    epoch: int
    eps: float
    learning_rate: float
    num_clusters: int
    num_outliers: int
    loss: float
    loss_hard: float
    loss_soft: float
    images_per_second: float
    seconds: dict[str, float]
    labels: np.ndarray = field(repr=False)
    loss_proxies: float | None = None
    distance_within: float | None = None
    distance_between: float | None = None
    num_unreliable: int | None = None
    num_links_mended: int | None = None
    neighbour_recall: float | None = None
    camera_entropy: float | None = None
    single_camera: float | None = None
    ari_last_epoch: float | None = None
    silhouette: float | None = None
