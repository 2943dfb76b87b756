"""The test half of a data set: queries and gallery with their identities, which only evaluation and diagnostics see."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from pipeline.datasets.store import PackedImages
from pipeline.errors import UserError
from pipeline.retrieval.evaluation import RetrievalScores, evaluate
from pipeline.retrieval.ranked_lists import rank_queries

Embed = Callable[[np.ndarray, str], torch.Tensor | np.ndarray]


class TestSet:
    """Queries and gallery of a packed data set.

    Raises:
        UserError: the data set has no query, no gallery, or no identities.
    """

    __test__ = False  # not a test case of pytest's

    def __init__(self, packed: PackedImages) -> None:
        self.query, self.gallery = packed.split("query"), packed.split("gallery")
        for name, part in (("query", self.query), ("gallery", self.gallery)):
            if len(part) == 0 or part.pids is None:
                raise UserError(f"the data set has no {name} images with identities: there is nothing to evaluate")

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
            query_cams=query.camids,
            gallery_cams=gallery.camids,
            average_precision=scores.average_precision,
        )

    def score(
        self, query_features: np.ndarray, gallery_features: np.ndarray, *, rerank: bool = False
    ) -> RetrievalScores:
        """mAP, CMC and mINP of features that `embed` gave."""
        query, gallery = self.query, self.gallery
        assert query.pids is not None and gallery.pids is not None
        return evaluate(
            query_features, query.pids, query.camids, gallery_features, gallery.pids, gallery.camids, rerank=rerank
        )


def figures(scores: RetrievalScores, prefix: str = "") -> dict[str, float]:
    """The scores as named numbers: mAP, rank1, rank5, rank10, mINP, each in [0, 1]."""
    ranks = {f"rank{rank}": share for rank, share in scores.cmc.items()}
    named = {"mAP": scores.mean_ap, **ranks, "mINP": scores.mean_inp}
    return {f"{prefix}{name}": value for name, value in named.items()}
