"""What clusters tell about a training without any label: whether they follow the cameras, and whether they settle.

A cluster that one camera alone sees is either somebody whom no other camera saw, or a part of somebody, joined by
the camera's light and background. Where many clusters are like that, the training is learning cameras.

N: images · K: clusters.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.outliers import outliers_alone

# Of a clustering, by those names in tables; `silhouette` comes from the clustering itself (silhouette.py).
SIGNALS = ("camera_entropy", "single_camera", "ari_last_epoch", "silhouette")


def cluster_signals(
    labels: NDArray[np.int64], *, cameras: NDArray[np.int64] | None, before: NDArray[np.int64] | None
) -> dict[str, float]:
    """The signals of a clustering; one that cannot be known is left out.

    Args:
        labels: (N,) clusters 0 .. K - 1, -1 for outliers.
        cameras: (N,) that took the images; None where they are not known.
        before: (N,) clusters of the same images in the epoch before; None in the first one.

    Returns:
        `camera_entropy`: of the clusters' images over all cameras, mean over the clusters, in [0, 1]: 1 where each
        camera sees every cluster equally often. `single_camera`: share of the clusters that one camera alone sees.
        Both only where there are a cluster and two cameras. `ari_last_epoch`: adjusted Rand index with `before`, an
        outlier being a cluster of its own; 1 where nothing has changed.
    """
    signals: dict[str, float] = {}
    clustered = labels >= 0
    num_cameras = 0 if cameras is None else len(np.unique(cameras))
    if cameras is not None and num_cameras > 1 and clustered.any():
        entropy = camera_entropy(labels[clustered], cameras[clustered])
        signals["camera_entropy"] = float(entropy.mean() / math.log(num_cameras))
        signals["single_camera"] = float((entropy == 0).mean())
    if before is not None:
        from sklearn.metrics import adjusted_rand_score  # here: nearly a second, and all stages import this package

        signals["ari_last_epoch"] = float(adjusted_rand_score(outliers_alone(before), outliers_alone(labels)))
    return signals


def camera_entropy(classes: NDArray[np.int64], cameras: NDArray[np.int64]) -> NDArray[np.float64]:
    """H = -sum_k p_k ln p_k of each class, with p_k the share of its images that camera k took.

    Args:
        classes: of images, from 0 to K - 1, none left out.
        cameras: that took them.

    Returns:
        (K,), in [0, ln of the number of cameras]; exactly 0 for a class that one camera sees.
    """
    _, camera = np.unique(cameras, return_inverse=True)
    num_classes = int(classes.max(initial=-1)) + 1
    pairs, counts = np.unique(np.stack([classes, camera]), axis=1, return_counts=True)
    share = counts / np.bincount(classes, minlength=num_classes)[pairs[0]]
    # Shares in order of their size: the sum does not depend on which camera is which.
    order = np.lexsort((share, pairs[0]))
    entropy = np.zeros(num_classes)
    np.subtract.at(entropy, pairs[0][order], share[order] * np.log(share[order]))
    return entropy + 0.0  # without the -0 of a single camera
