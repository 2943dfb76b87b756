"""What the clusters look like: the mean embedding of each.

Shapes: N images, D width of an embedding, K clusters.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.clustering.checks import checked
from pipeline.common.errors import UserError


def centroids(features: Any, labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """The L2-normalised mean of the members of each cluster, in order of the labels.

    Args:
        features: (N, D) float32, L2-normalised rows, numpy or torch; never modified.
        labels: (N,) from 0 to K - 1, none left out; -1 (an outlier) belongs to no cluster.

    Returns:
        (K, D) float32; K is 0 where all are outliers.

    Raises:
        ValueError: another number of labels than of images, or a label without members.
        UserError: members that cancel out.
    """
    embeddings = checked(features)
    labels = np.asarray(labels)
    if labels.shape != (len(embeddings),):
        raise ValueError(f"labels must be ({len(embeddings)},), one for each image, got shape {labels.shape}")
    members = np.flatnonzero(labels >= 0)
    sizes = np.bincount(labels[members])
    if (sizes == 0).any():
        raise ValueError(f"cluster {int(np.argmin(sizes))} has no members: labels must be 0 to K - 1, or -1")
    # Members in catalogue order, so that the sums are the same everywhere.
    ordered = members[np.argsort(labels[members], kind="stable")]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    chosen = sp.csr_array((np.ones(len(ordered), np.float32), ordered, starts), shape=(len(sizes), len(embeddings)))
    sums = chosen @ embeddings
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise UserError(f"the embeddings of cluster {int(np.argmin(lengths))} cancel out: it has no mean direction")
    return sums / lengths
