"""The test half of a data set: queries and gallery with their identities, which the training never sees."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import UserError
from pipeline.config.schema import Distance
from pipeline.datasets.packed_images import LabelledImages, PackedImages
from pipeline.evaluation.metrics import cmc_ranks
from pipeline.evaluation.protocol import RetrievalScores, evaluate
from pipeline.evaluation.ranked_lists import rank_queries
from pipeline.evaluation.tracklets import TrackletSide, tracklet_sides
from pipeline.evaluation.verification import Verification, verify

Embed = Callable[[np.ndarray, str], torch.Tensor | np.ndarray]
Own = tuple[np.ndarray | None, np.ndarray | None]
_Identified = LabelledImages | TrackletSide


def why_not_scored(packed: PackedImages) -> str | None:
    """Why a data set cannot be evaluated, in a clause for the user; None where it can."""
    query, gallery = packed.split("query"), packed.split("gallery")
    for name, part in (("query", query), ("gallery", gallery)):
        if len(part) == 0:
            return f"the data set has no {name} images"
        if part.pids is None:
            return f"its {name} images have no identities"
    if not _has_match(query, gallery, _files(query, gallery)):
        return "no query image shows an identity that another gallery image shows"
    return None


class TestSet:
    """Queries and gallery of a packed data set, and the protocol that fits them.

    Where cameras are known and identities are seen by several of them, gallery images of the query's identity in the
    query's own camera are taken out, as the field does. Otherwise nothing is taken out but the query's own file, where
    it is in the gallery too.

    Attributes:
        query, gallery: the images with their identities.
        uses_cameras: which of the two protocols it is.
        own: (Q,) and (M,) numbers: where both the number and the identity agree, a gallery image is taken out of a
            query's list. Cameras, or files.
        tracklets: of queries and gallery; None where no image is of one.
        members: of a union of data sets, name -> the rows of its queries and of its gallery, and itself as a test set;
            without those that cannot be evaluated.

    Raises:
        UserError: there is nothing to evaluate, see `why_not_scored`.
    """

    __test__ = False  # not a test case of pytest's

    def __init__(self, packed: PackedImages) -> None:
        if reason := why_not_scored(packed):
            raise UserError(f"there is nothing to evaluate: {reason}")
        self.query, self.gallery = packed.split("query"), packed.split("gallery")
        cameras = self.query.camids, self.gallery.camids
        known = all(side is not None for side in cameras)  # not `in`, which compares arrays
        self.uses_cameras = known and _has_match(self.query, self.gallery, cameras)
        own = cameras if self.uses_cameras else _files(self.query, self.gallery)
        assert own[0] is not None and own[1] is not None
        self.own = own[0], own[1]
        self.tracklets = tracklet_sides(self.query, self.gallery, self.own, uses_cameras=self.uses_cameras)
        parts = {member: packed.of_member(member) for member in packed.members}
        self.members = {
            member: (_of_member(self.query, member), _of_member(self.gallery, member), TestSet(part))
            for member, part in parts.items()
            if why_not_scored(part) is None
        }

    def embed(self, embed: Embed) -> tuple[np.ndarray, np.ndarray]:
        """The features (Q, D) of the queries and (M, D) of the gallery by `embed(images, title)`."""
        return tuple(  # type: ignore[return-value]
            np.asarray(embed(part.images, title))
            for part, title in ((self.query, "queries"), (self.gallery, "gallery"))
        )

    def ranked_lists(
        self, query_features: np.ndarray, gallery_features: np.ndarray, scores: RetrievalScores
    ) -> pd.DataFrame:
        """The best, median and worst queries with what stands in their first places, see `rank_queries`."""
        query, gallery = self.query, self.gallery
        assert query.pids is not None and gallery.pids is not None
        return rank_queries(
            query_features,
            gallery_features,
            query_ids=query.pids,
            gallery_ids=gallery.pids,
            query_cams=self.own[0],
            gallery_cams=self.own[1],
            average_precision=scores.average_precision,
        )

    def require_cameras_for(self, rerank: bool | Distance) -> None:
        """Raises UserError where re-ranking would need cameras, and the protocol has none."""
        if rerank == "camera_jaccard" and not self.uses_cameras:
            raise UserError(
                "evaluate.rerank is camera_jaccard, but the cameras of query and gallery are not known, or no identity "
                "is seen by two of them: set it to jaccard"
            )

    def score(
        self, query_features: np.ndarray, gallery_features: np.ndarray, *, rerank: bool | Distance = False
    ) -> RetrievalScores:
        """mAP, CMC and mINP of features that `embed` gave."""
        query, gallery = self.query, self.gallery
        assert query.pids is not None and gallery.pids is not None
        own_query, own_gallery = self.own
        sides = (query_features, query.pids, own_query, gallery_features, gallery.pids, own_gallery)
        return evaluate(*sides, ranks=cmc_ranks(), rerank=rerank)

    def score_members(self, query_features: np.ndarray, gallery_features: np.ndarray) -> dict[str, RetrievalScores]:
        """As `score`, of each data set of a union among its own images; empty where the data set is no union."""
        return {
            member: test.score(query_features[asked], gallery_features[there])
            for member, (asked, there, test) in self.members.items()
        }

    def score_tracklets(self, query_features: np.ndarray, gallery_features: np.ndarray) -> RetrievalScores | None:
        """As `score`, of tracklets by the means of their features; None where there are none, or none has a match."""
        if self.tracklets is None:
            return None
        query, gallery = self.tracklets
        if not _has_match(query, gallery, (query.own, gallery.own)):
            return None
        sides = (query.means(query_features), query.pids, query.own)
        return evaluate(*sides, gallery.means(gallery_features), gallery.pids, gallery.own, ranks=cmc_ranks())

    def verify(self, query_features: np.ndarray, gallery_features: np.ndarray) -> Verification:
        """What thresholds on the cosine are worth, over the pairs that survive the protocol."""
        query, gallery = self.query, self.gallery
        assert query.pids is not None and gallery.pids is not None
        return verify(query_features, query.pids, self.own[0], gallery_features, gallery.pids, self.own[1])


def _of_member(images: LabelledImages, member: str) -> np.ndarray:
    """The rows of a data set of a union."""
    return np.flatnonzero([path.startswith(f"{member}/") for path in images.paths])


def _files(query: LabelledImages, gallery: LabelledImages) -> Own:
    """A number for each file, the same for the same path: (Q,) and (M,)."""
    codes, _ = pd.factorize(np.array([*query.paths, *gallery.paths], dtype=object))
    return codes[: len(query)], codes[len(query) :]


def _has_match(query: _Identified, gallery: _Identified, own: Own) -> bool:
    """Whether any query has something of its identity left in the gallery when what shares its number is taken out."""
    asked, there = (pd.DataFrame({"pid": p.pids, "own": o}) for p, o in zip((query, gallery), own, strict=True))
    asked, there = asked[asked["pid"].isin(there["pid"])], there[there["pid"].isin(asked["pid"])]
    numbers = pd.concat([asked, there]).groupby("pid")["own"]
    return bool((numbers.min() < numbers.max()).any())
