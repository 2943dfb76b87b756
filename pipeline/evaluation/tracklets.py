"""Tracklets in place of images: the normalised mean of a tracklet's embeddings stands for its images.

An image of no tracklet stands for itself. A tracklet is of one identity and one camera, which the readers make sure of.
Source: Zheng et al., MARS: A Video Benchmark for Large-Scale Person Re-identification, ECCV 2016 (average pooling).
N: images of one side, queries or gallery · T: tracklets of it · D: width of the features.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.common.group_means import group_means
from pipeline.datasets.packed_images import LabelledImages


@dataclass(frozen=True, eq=False)
class TrackletSide:
    """The tracklets of the queries or of the gallery.

    Attributes:
        of: (N,) the tracklet of each image, from 0 in the order of their first images.
        pids: (T,) identities.
        own: (T,) numbers, see `TestSet.own`.
    """

    of: NDArray[np.int64]
    pids: NDArray[np.int64]
    own: NDArray[np.int64]

    def means(self, features: np.ndarray) -> NDArray[np.float32]:
        """(T, D), of features (N, D) that are L2-normalised."""
        return group_means(np.asarray(features, np.float32), self.of)


def tracklet_sides(
    query: LabelledImages, gallery: LabelledImages, own: tuple[np.ndarray, np.ndarray], *, uses_cameras: bool
) -> tuple[TrackletSide, TrackletSide] | None:
    """The tracklets of queries and gallery; None where no image is of one.

    Args:
        query, gallery: with identities.
        own: (Q,) and (M,), see `TestSet.own`.
        uses_cameras: `own` are cameras. Otherwise the query's own tracklet takes their place, where images of it are
            in the gallery too.
    """
    if query.tracklets is None and gallery.tracklets is None:
        return None
    sides = []
    most = max(int(side.max(initial=0)) for side in (query.tracklets, gallery.tracklets) if side is not None)
    for part, numbers in zip((query, gallery), own, strict=True):
        assert part.pids is not None
        known = np.full(len(part), -1, np.int64) if part.tracklets is None else part.tracklets
        # Apart from the numbers of tracklets: each image of none, or its file where that says what to take out.
        alone = most + 1 + (np.arange(len(part)) if uses_cameras else numbers)
        names = np.where(known >= 0, known, alone)
        of, _ = pd.factorize(names)
        _, first = np.unique(of, return_index=True)
        sides.append(TrackletSide(of.astype(np.int64), part.pids[first], (numbers if uses_cameras else names)[first]))
    return sides[0], sides[1]
