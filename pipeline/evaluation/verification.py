"""Same or different, and "not in the gallery": what a threshold on the cosine of two images is worth.

Verification looks at pairs of a query and a gallery image that survive the camera rule of `protocol.py`; a distractor
(identity 0) is nobody's match. Identification with an open gallery looks at the first place of each query's list: with
its identity in the gallery it should be right and above the threshold; with its identity taken out nothing should be.
Source: Grother and Ngan, Face Recognition Vendor Test, NISTIR 8009, 2014 (TPR, FPR; DIR at FAR).

Q: queries, M: gallery images, D: width of the features.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.common.cosines import BINS, bin_edge, count_cosines, lowest_cosine, share_above
from pipeline.evaluation.ranking import checked_features, checked_labels, cosine_distances

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
FALSE_ALARM_RATES = (1e-1, 1e-2)
ROC_COLUMNS = ("threshold", "fpr", "tpr")
_DISTRACTOR = 0
_POINTS = 400  # of the curve


@dataclass(frozen=True, eq=False)
class Verification:
    """What the pairs of queries and gallery images are like.

    Attributes:
        same, different: (BINS,) how many pairs of one identity, and of two, have which cosine (`common.cosines`).
        best_right: (Q,) float32, the highest cosine of a query with a match; -inf without one.
        best_wrong: (Q,) float32, the highest with another identity or a distractor; -inf without one.
    """

    same: NDArray[np.int64] = field(repr=False)
    different: NDArray[np.int64] = field(repr=False)
    best_right: NDArray[np.float32] = field(repr=False)
    best_wrong: NDArray[np.float32] = field(repr=False)

    def true_positive_rate(self, false_positive_rate: float) -> float:
        """Share of the pairs of one identity that are told as one where so many of the other pairs are, or fewer."""
        return share_above(self.same, lowest_cosine(self.different, false_positive_rate))

    def rates(self, threshold: float) -> tuple[float, float]:
        """(true, false) positive rate at a cosine, rounded up to an edge of a bin."""
        edge = float(bin_edge(int(np.ceil((threshold + 1) * BINS / 2))))
        return share_above(self.same, edge), share_above(self.different, edge)

    def identification_rate(self, false_alarm_rate: float) -> float:
        """DIR at FAR: of the queries with a match, the share whose first place is right and above the threshold.

        The threshold is the lowest one that so many queries, or fewer, reach when their identity is taken out of the
        gallery.
        """
        known = np.isfinite(self.best_right)
        if not known.any():
            return float("nan")
        strangers = np.sort(self.best_wrong)[::-1]
        allowed = int(false_alarm_rate * len(strangers))
        # Above the first one that is not allowed any more.
        threshold = strangers[allowed] if allowed < len(strangers) else -np.inf
        right = (self.best_right > self.best_wrong) & (self.best_right > threshold)
        return float(right[known].mean())

    def metrics(self) -> dict[str, float]:
        """`tpr_at_fpr_<rate>` and `dir_at_far_<rate>`, each in [0, 1]."""
        tpr = {f"tpr_at_fpr_{rate:g}": self.true_positive_rate(rate) for rate in FALSE_POSITIVE_RATES}
        return tpr | {f"dir_at_far_{rate:g}": self.identification_rate(rate) for rate in FALSE_ALARM_RATES}

    def roc(self) -> pd.DataFrame:
        """The curve, columns `ROC_COLUMNS`, from the highest threshold to the lowest: where a rate changes most."""
        totals = self.same.sum(), self.different.sum()
        tpr, fpr = (
            np.cumsum(counts[::-1])[::-1] / max(total, 1)
            for counts, total in zip((self.same, self.different), totals, strict=True)
        )
        steps = np.geomspace(1 / max(totals[1], 1), 1, _POINTS // 2)
        places = {int(np.searchsorted(-fpr, -step)) for step in steps}
        places |= {int(np.searchsorted(-tpr, -step)) for step in np.linspace(0, 1, _POINTS // 2)}
        rows = [(bin_edge(place), fpr[place], tpr[place]) for place in sorted(places, reverse=True) if place < BINS]
        return pd.DataFrame(rows, columns=list(ROC_COLUMNS))


def verify(
    query_features: ArrayLike,
    query_ids: ArrayLike,
    query_own: ArrayLike,
    gallery_features: ArrayLike,
    gallery_ids: ArrayLike,
    gallery_own: ArrayLike,
) -> Verification:
    """Looks at all pairs of queries and gallery images that survive the rule.

    Args:
        query_features, gallery_features: (Q, D) and (M, D).
        query_ids, gallery_ids: (Q,) and (M,) identities; 0 is a distractor.
        query_own, gallery_own: (Q,) and (M,) what takes a gallery image of the query's identity out: cameras, or
            numbers of files.

    Raises:
        UserError: features or labels that do not fit together, see `protocol.evaluate`.
    """
    query, query_norms = checked_features(query_features, "query_features")
    gallery, gallery_norms = checked_features(gallery_features, "gallery_features", width=query.shape[1])
    ids, own = checked_labels(query_ids, "query_ids", len(query)), checked_labels(query_own, "query_own", len(query))
    there = checked_labels(gallery_ids, "gallery_ids", len(gallery))
    there_own = checked_labels(gallery_own, "gallery_own", len(gallery))
    counts = np.zeros((2, BINS), np.int64)
    best = np.full((2, len(query)), -np.inf, np.float32)
    for start, distance in cosine_distances(query, query_norms, gallery, gallery_norms):
        rows = slice(start, start + len(distance))
        equal = ids[rows, None] == there
        right = equal & (ids[rows, None] != _DISTRACTOR)
        classes = np.where(right, np.int8(0), np.int8(1))
        classes[equal & (own[rows, None] == there_own)] = -1
        cosines = -distance
        count_cosines(cosines, classes, counts)
        for which in (0, 1):
            best[which, rows] = np.where(classes == which, cosines, -np.inf).max(axis=1)
    return Verification(counts[0], counts[1], best[0], best[1])
