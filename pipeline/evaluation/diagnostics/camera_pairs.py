"""How well one camera's queries find their identity among another camera's images.

A mean over all queries hides that some pairs of cameras hardly agree: another light, another side of the body.

Shapes: features (Q, D) and (M, D), ids and cameras (Q,) and (M,).
"""

import numpy as np
import pandas as pd

from pipeline.evaluation.query_scores import score_queries
from pipeline.evaluation.ranking import checked_features, checked_labels, cosine_distances

COLUMNS = ("query_camera", "gallery_camera", "queries", "rank1")


def camera_pairs(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    *,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cams: np.ndarray,
    gallery_cams: np.ndarray,
) -> pd.DataFrame:
    """Rank-1 of the queries of each camera on the gallery of each camera alone.

    The gallery of a pair is what its camera took: distractors stay, images of the query's identity in the query's own
    camera are taken out as in `evaluate`, so a camera beside itself has no valid query. A query counts for a pair if
    its identity is in that gallery.

    Args:
        query_features, gallery_features: (Q, D) and (M, D); their length does not matter.
        query_ids, gallery_ids: (Q,) and (M,) identities.
        query_cams, gallery_cams: (Q,) and (M,) cameras.

    Returns:
        One row per pair that has a valid query, columns `COLUMNS`, by camera of the query and then of the gallery:
        `queries` is the number of its valid queries, `rank1` the share of them whose first place is right, in [0, 1].

    Raises:
        UserError: as `evaluate`, for features and labels that do not fit together.
    """
    query, query_norms = checked_features(query_features, "query_features")
    gallery, gallery_norms = checked_features(gallery_features, "gallery_features", width=query.shape[1])
    asked_ids = checked_labels(query_ids, "query_ids", len(query))
    asked_cams = checked_labels(query_cams, "query_cams", len(query))
    ids = checked_labels(gallery_ids, "gallery_ids", len(gallery))
    cams = checked_labels(gallery_cams, "gallery_cams", len(gallery))
    rows = []
    for camera in np.unique(cams):
        there = np.flatnonzero(cams == camera)
        first = np.empty(len(query), dtype=np.int64)
        for start, distance in cosine_distances(query, query_norms, gallery[there], gallery_norms[there]):
            part = slice(start, start + len(distance))
            first[part] = score_queries(distance, asked_ids[part], asked_cams[part], ids[there], cams[there]).first_rank
        for asking in np.unique(asked_cams[first > 0]):
            found = first[(first > 0) & (asked_cams == asking)]
            rows.append((int(asking), int(camera), len(found), float((found == 1).mean())))
    return pd.DataFrame(sorted(rows), columns=list(COLUMNS))
