"""The means of groups of embeddings: of the images of a tracklet, or of those that are known to be one.

N: embeddings · M: groups · D: width.
"""

import numpy as np
from numpy.typing import NDArray


def group_means(embeddings: NDArray[np.float32], of: NDArray[np.int64]) -> NDArray[np.float32]:
    """(M, D) float32, L2-normalised means of groups; of an embedding alone, its own to the bit.

    Args:
        embeddings: (N, D), L2-normalised.
        of: (N,) the group of each, from 0 on without gaps. Two that are opposite have no mean: the first stands for
            them.
    """
    order = np.argsort(of, kind="stable")
    sizes = np.bincount(of)
    if len(sizes) == len(embeddings):
        return embeddings[order]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums = np.add.reduceat(embeddings[order].astype(np.float64), starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    first = embeddings[order[starts]]
    alone = (sizes == 1)[:, None] | (lengths == 0)
    return np.where(alone, first, (sums / np.where(lengths == 0, 1, lengths)).astype(np.float32))
