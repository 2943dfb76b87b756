"""How well clusters agree with true identities: a diagnostic for the report, never seen by the training.

An outlier counts as a cluster of its own: it joins no pair. Purity is of the images that are in clusters.

Source: Hubert & Arabie, "Comparing Partitions", Journal of Classification 1985 (pairs, adjusted Rand index); Vinh et
al., "Information Theoretic Measures for Clusterings Comparison", JMLR 2010 (adjusted mutual information, by the
arithmetic mean of the entropies: 0 for what chance finds, where the plain one is high for many small clusters).

N: images.
"""

import numpy as np

from pipeline.clustering.dbscan import OUTLIER
from pipeline.clustering.outliers import outliers_alone


def cluster_quality(labels: np.ndarray, pids: np.ndarray) -> dict[str, float]:
    """Agreement of a clustering with the truth, each figure in [0, 1] (the adjusted ones may be below 0).

    Args:
        labels: of shape (N,), int, -1 for outliers; N >= 1.
        pids: true identities, of shape (N,), int.

    Returns:
        `pairwise_precision`: share of the pairs in one cluster that are of one identity; `pairwise_recall`: share of
        the pairs of one identity that are in one cluster; `pairwise_f`: their harmonic mean; `ari`, `ami`; `purity`:
        share of the clustered images that are of their cluster's most frequent identity. 0 where there are no such
        pairs or images.
    """
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score  # here: nearly a second
    from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix

    assert labels.shape == pids.shape and labels.ndim == 1 and len(labels) > 0
    found = outliers_alone(labels)
    (_, false_joined), (false_parted, joined) = pair_confusion_matrix(pids, found).astype(float)
    clustered = labels != OUTLIER
    table = contingency_matrix(pids[clustered], found[clustered], sparse=True) if clustered.any() else None
    return {
        "pairwise_precision": _share(joined, joined + false_joined),
        "pairwise_recall": _share(joined, joined + false_parted),
        "pairwise_f": _share(2 * joined, 2 * joined + false_joined + false_parted),
        "ari": float(adjusted_rand_score(pids, found)),
        "ami": float(adjusted_mutual_info_score(pids, found)),
        "purity": 0.0 if table is None else float(table.max(axis=0).sum() / clustered.sum()),
    }


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
