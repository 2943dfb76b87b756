"""The retrieval protocol of re-identification: mAP, CMC, mINP of queries against a gallery.

Every query ranks the gallery by cosine; gallery images of the query's identity in the query's camera are removed;
distractors (identity 0) stay, junk (identity -1) was dropped when the data set was read. Queries without a match in
what remains are left out and counted. Source: Zheng et al., Scalable Person Re-identification, ICCV 2015.

Shapes: features (Q, D) and (M, D), ids and cameras (Q,) and (M,). Memory beyond the features: one chunk of
distances (`ranking.CHUNK_BYTES`), however large Q x M is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.clustering import CameraAware
from pipeline.common.errors import UserError
from pipeline.config.schema import Clustering, Distance
from pipeline.evaluation.query_scores import QueryScores, score_queries
from pipeline.evaluation.ranking import checked_features, checked_labels, cosine_distances
from pipeline.evaluation.reranking import reranked_distances

CURVE_RANKS = 50


@dataclass(frozen=True, eq=False)
class RetrievalScores:
    """What a set of queries scored; means are over the valid queries, all shares in [0, 1].

    Attributes:
        mean_ap: mean average precision.
        cmc: rank -> share of queries whose first match is at that rank or before, for the ranks asked for.
        mean_inp: mean inverse negative penalty (matches / rank of the last match).
        num_valid_queries: queries with a match in the filtered gallery.
        num_queries: all queries; the difference was left out.
        cmc_curve: (50,) the CMC at ranks 1 to 50, for plots.
        average_precision: (Q,) of each query, NaN where it was left out.
        first_rank: (Q,) rank of each query's first match, from 1; 0 where it was left out.
    """

    mean_ap: float
    cmc: dict[int, float]
    mean_inp: float
    num_valid_queries: int
    num_queries: int
    cmc_curve: NDArray[np.float64] = field(repr=False)
    average_precision: NDArray[np.float64] = field(repr=False)
    first_rank: NDArray[np.int64] = field(repr=False)


def evaluate(
    query_features: ArrayLike,
    query_ids: ArrayLike,
    query_cams: ArrayLike | None,
    gallery_features: ArrayLike,
    gallery_ids: ArrayLike,
    gallery_cams: ArrayLike | None,
    *,
    ranks: Sequence[int] = (1, 5, 10),
    rerank: bool | Distance = False,
    k1: int = 20,
    k2: int = 6,
    lambda_: float = 0.3,
) -> RetrievalScores:
    """Scores the features of a query set and a gallery.

    Args:
        query_features: (Q, D) features; their length does not matter.
        query_ids: (Q,) integers.
        query_cams: (Q,) integers, or None with gallery_cams for a data set without cameras: nothing is filtered.
        gallery_features: (M, D).
        gallery_ids: (M,).
        gallery_cams: (M,) or None.
        ranks: the ranks, from 1, of `cmc`.
        rerank: rank by the k-reciprocal distance of `reranking` instead of by cosine: "jaccard" (or True), or
            "camera_jaccard", the camera-aware one, by the cameras of query and gallery.
        k1, k2, lambda_: its settings, used with `rerank` only; the camera-aware one has the published numbers of
            neighbours.

    Raises:
        UserError: labels and features that do not fit together, features that are zero or not finite, cameras on
            one side only or none for camera-aware re-ranking, a rank below 1, or no query with a match.
    """
    query, query_norms = checked_features(query_features, "query_features")
    gallery, gallery_norms = checked_features(gallery_features, "gallery_features", width=query.shape[1])
    if rerank:
        aware = _camera_aware(query_cams, gallery_cams) if rerank == "camera_jaccard" else None
        chunks = reranked_distances(query, gallery, k1=k1, k2=k2, lambda_=lambda_, camera_aware=aware)
    else:
        chunks = cosine_distances(query, query_norms, gallery, gallery_norms)
    return _evaluate_chunks(chunks, (len(query), len(gallery)), query_ids, query_cams, gallery_ids, gallery_cams, ranks)


def _camera_aware(query_cams: ArrayLike | None, gallery_cams: ArrayLike | None) -> CameraAware:
    if query_cams is None or gallery_cams is None:
        raise UserError("camera-aware re-ranking needs query_cams and gallery_cams")
    cameras = np.concatenate([np.asarray(query_cams), np.asarray(gallery_cams)]).astype(np.int64)
    published = ("k_intra", "k_inter", "k2_intra", "k2_inter")
    return CameraAware(cameras=cameras, **{name: Clustering.model_fields[name].default for name in published})


def evaluate_distances(
    distance: ArrayLike,
    query_ids: ArrayLike,
    query_cams: ArrayLike | None,
    gallery_ids: ArrayLike,
    gallery_cams: ArrayLike | None,
    *,
    ranks: Sequence[int] = (1, 5, 10),
) -> RetrievalScores:
    """As `evaluate`, from a (Q, M) matrix of distances (smaller is nearer) that is there already.

    Raises:
        UserError: as `evaluate`, or a distance that is NaN.
    """
    distance = np.asarray(distance)
    distance = np.ascontiguousarray(distance, dtype=np.result_type(distance.dtype, np.float32))
    if distance.ndim != 2 or 0 in distance.shape:
        raise UserError(f"distance must be (queries, gallery) and not empty, got shape {distance.shape}")
    if np.isnan(distance.min()):
        row, column = np.argwhere(np.isnan(distance))[0]
        raise UserError(f"distance: row {row}, column {column} is NaN")
    return _evaluate_chunks([(0, distance)], distance.shape, query_ids, query_cams, gallery_ids, gallery_cams, ranks)


def _evaluate_chunks(
    chunks: Iterable[tuple[int, NDArray[np.float32]]],
    shape: tuple[int, ...],
    query_ids: ArrayLike,
    query_cams: ArrayLike | None,
    gallery_ids: ArrayLike,
    gallery_cams: ArrayLike | None,
    ranks: Sequence[int],
) -> RetrievalScores:
    num_queries, num_gallery = shape
    if any(rank < 1 for rank in ranks):
        raise UserError(f"ranks count from 1, got {list(ranks)}")
    if (query_cams is None) != (gallery_cams is None):
        raise UserError("query_cams and gallery_cams: give both, or None for both (a data set without cameras)")
    query_pids = checked_labels(query_ids, "query_ids", num_queries)
    gallery_pids = checked_labels(gallery_ids, "gallery_ids", num_gallery)
    query_cameras = gallery_cameras = None
    if query_cams is not None:
        query_cameras = checked_labels(query_cams, "query_cams", num_queries)
        gallery_cameras = checked_labels(gallery_cams, "gallery_cams", num_gallery)
    parts = []
    for start, distance in chunks:
        rows = slice(start, start + len(distance))
        cameras = None if query_cameras is None else query_cameras[rows]
        parts.append(score_queries(distance, query_pids[rows], cameras, gallery_pids, gallery_cameras))
    return _summarise(parts, ranks)


def _summarise(parts: Sequence[QueryScores], ranks: Sequence[int]) -> RetrievalScores:
    average_precision = np.concatenate([part.average_precision for part in parts])
    first_rank = np.concatenate([part.first_rank for part in parts])
    penalty = np.concatenate([part.inverse_negative_penalty for part in parts])
    valid = first_rank > 0
    if not valid.any():
        raise UserError(
            f"none of the {len(valid)} queries has a match in the gallery (an image of its identity in another "
            "camera): check the identities and cameras that were read, or evaluate without cameras"
        )
    found = np.sort(first_rank[valid])
    curve = np.searchsorted(found, np.arange(1, CURVE_RANKS + 1), "right") / len(found)
    return RetrievalScores(
        mean_ap=float(average_precision[valid].mean()),
        cmc={int(rank): float(np.searchsorted(found, rank, "right") / len(found)) for rank in ranks},
        mean_inp=float(penalty[valid].mean()),
        num_valid_queries=len(found),
        num_queries=len(valid),
        cmc_curve=curve,
        average_precision=average_precision,
        first_rank=first_rank,
    )
