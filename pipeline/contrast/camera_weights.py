"""Weights of images by the cameras of their cluster: a cluster that many cameras see teaches more.

What an unsupervised training learns wrongly are the cameras: clusters form within one of them. With p_k the share of a
cluster's images that camera k took, its camera entropy H = -sum_k p_k log p_k is 0 for one camera and largest where all
cameras see it equally often. Two rules turn it into weights w_i of images, in which the loss is mean_i w_i l_i:

    batch      H of the cluster's images in the batch, in bits; w_c = P exp(H_c) / sum_c' exp(H_c')
    cluster    H of the whole cluster, natural logarithm, once an epoch; w_c = ln(1 + H_c), and in a batch
               w_i = B w_y(i) / sum_j w_y(j): a cluster of one camera teaches nothing

`batch`: camera information entropy, of 3C (arXiv 2408.09464). `cluster`: CALR (arXiv 2403.16450), which begins after
some epochs.

N: training images · B: images in the global batch · K: classes · P: classes in the batch.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.signals import camera_entropy


def image_weights(
    rule: str, classes: NDArray[np.int64], cameras: NDArray[np.int64] | None
) -> Callable[[NDArray[np.int64]], NDArray[np.float32]] | None:
    """What gives the images of a batch their weights.

    Args:
        rule: none, batch or cluster.
        classes: (N,) of the training images, -1 for images that are in no batch.
        cameras: (N,) that took them; None where they are not known.

    Returns:
        Rows (B,) of images -> weights (B,); None where all weigh the same.
    """
    if rule == "none" or cameras is None:
        return None
    if rule == "batch":
        return lambda rows: batch_weights(classes[rows], cameras[rows])
    weights = cluster_weights(classes, cameras)
    return lambda rows: in_batch(weights[rows])


def batch_weights(classes: NDArray[np.int64], cameras: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rule `batch`.

    Args:
        classes: (B,) of the images of a batch.
        cameras: (B,) that took them.

    Returns:
        (B,); 1 where no class is seen by more cameras than another.
    """
    _, places = np.unique(classes, return_inverse=True)
    entropy = camera_entropy(places, cameras) / np.log(2)
    weights = np.exp(entropy)
    return np.asarray(len(weights) * weights / weights.sum(), dtype=np.float32)[places]


def cluster_weights(classes: NDArray[np.int64], cameras: NDArray[np.int64]) -> NDArray[np.float64]:
    """ln(1 + H) of the rule `cluster`, before a batch is known.

    Args:
        classes: (N,) of the training images, -1 for images that are in no batch.
        cameras: (N,) that took them.

    Returns:
        (N,); 0 for images in no class.
    """
    weights = np.zeros(len(classes))
    members = classes >= 0
    if members.any():
        weights[members] = np.log1p(camera_entropy(classes[members], cameras[members]))[classes[members]]
    return weights


def in_batch(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weights (B,) of a batch divided by their mean; 1 where all are 0, as nothing tells its images apart."""
    mean = weights.mean()
    if mean == 0:
        return np.ones(len(weights), np.float32)
    return np.asarray(weights / mean, dtype=np.float32)
