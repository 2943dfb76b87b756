"""Same or different: thresholds on the cosine of two images, set by the clusters of a training, without labels.

Pairs of two clusters stand for pairs of two individuals: a threshold is put where a stated share of them, its
false-positive rate, lies above it. Pairs within a cluster, of two cameras where these are known, stand for pairs of one
individual. Outliers belong to no pair. So the rate is as good as the clusters are: an individual in two clusters makes
the threshold higher than it has to be, and images that the training has not seen are less far apart than these.

N: images, D: width of the embedding.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.common.cosines import BINS, count_cosines, lowest_cosine, share_above
from pipeline.model.thresholds import Thresholds

SAME_RATE, UNSURE_RATE = 1e-3, 1e-2
MOST_ROWS = 4096  # images whose pairs with all others are looked at, evenly spread
_CHUNK = 2**23  # cosines at a time, in double precision


def calibrated(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    cameras: NDArray[np.int64] | None = None,
    same_rate: float = SAME_RATE,
    unsure_rate: float = UNSURE_RATE,
) -> Thresholds | None:
    """The cosines above which the stated shares of the pairs of two clusters lie.

    Args:
        embeddings: (N, D), L2-normalised.
        labels: (N,) clusters, -1 for outliers.
        cameras: (N,), None where they are not known.
        same_rate, unsure_rate: of the two thresholds.

    Returns:
        None where there are no two clusters.
    """
    rows = np.flatnonzero(labels >= 0)
    clusters = labels[rows]
    if len(rows) == 0 or clusters.max() == clusters.min():
        return None
    seen = None if cameras is None else cameras[rows]
    features = embeddings[rows].astype(np.float64)  # exact enough for the same counts on any number of threads
    asked = np.unique(np.linspace(0, len(rows) - 1, min(MOST_ROWS, len(rows))).astype(np.int64))
    counts = np.zeros((2, BINS), np.int64)
    step = max(1, _CHUNK // len(rows))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        cosines = (features[part] @ features.T).astype(np.float32)
        joined = clusters[part, None] == clusters
        classes = np.where(joined, np.int8(0), np.int8(1))
        too_easy = part[:, None] == np.arange(len(rows)) if seen is None else joined & (seen[part, None] == seen)
        classes[too_easy] = -1
        count_cosines(cosines, classes, counts)
    within, between = counts
    same, unsure = lowest_cosine(between, same_rate), lowest_cosine(between, unsure_rate)
    recall = share_above(within, same)
    return Thresholds(same, unsure, same_rate, unsure_rate, 0.0 if math.isnan(recall) else recall)
