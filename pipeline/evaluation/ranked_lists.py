"""Ranked lists for the report: which queries to show, what stands in their first places, and whether it is right.

Source: the usual protocol of re-identification (Zheng et al., ICCV 2015): gallery images of the query's identity in the
query's own camera are taken out before ranking, distractors (pid 0) stay in and are never right.
Q: queries, G: gallery images, D: width of an embedding.
"""

import numpy as np
import pandas as pd

GROUPS = ("best", "median", "worst")
COLUMNS = ("group", "query", "average_precision", "rank", "gallery", "similarity", "verdict")


def rank_queries(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    *,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cams: np.ndarray | None,
    gallery_cams: np.ndarray | None,
    average_precision: np.ndarray,
    per_group: int = 3,
    length: int = 10,
) -> pd.DataFrame:
    """Picks the best, median and worst queries and ranks the gallery for them.

    Args:
        query_features, gallery_features: (Q, D) and (G, D), L2-normalised.
        query_ids, gallery_ids: (Q,) and (G,) identities.
        query_cams, gallery_cams: (Q,) and (G,) cameras, or None for both: then nothing is taken out.
        average_precision: (Q,) in [0, 1], NaN for a query without a valid match (never shown).
        per_group: Queries per group.
        length: Places per list.

    Returns:
        One row per place with the columns `COLUMNS`: `query` counts in the query split, `gallery` in the gallery split,
        `rank` from 1; groups in the order best, median, worst. No row where no query is valid.
    """
    assert (query_cams is None) == (gallery_cams is None), "cameras of both sides, or of none"
    rows = []
    for group, query in choose_queries(average_precision, query_ids, per_group=per_group):
        similarity = gallery_features @ query_features[query]
        order = np.argsort(-similarity, kind="stable")
        if query_cams is not None and gallery_cams is not None:
            own = (gallery_ids == query_ids[query]) & (gallery_cams == query_cams[query])
            order = order[~own[order]]
        for rank, place in enumerate(order[:length], start=1):
            pid = gallery_ids[place]
            verdict = "right" if pid == query_ids[query] else "distractor" if pid == 0 else "wrong"
            score = float(average_precision[query])
            rows.append((group, query, score, rank, int(place), float(similarity[place]), verdict))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def choose_queries(average_precision: np.ndarray, query_ids: np.ndarray, *, per_group: int) -> list[tuple[str, int]]:
    """Chooses (group, query): the highest, the most middling and the lowest average precision.

    No query is chosen twice, and a group shows different identities as long as there are any: the best queries are
    often many pictures of one easy identity. Ties go to the earlier query, so that the choice is repeatable.

    Args:
        average_precision: (Q,), NaN for a query that is left out.
        query_ids: (Q,) identities.
        per_group: Queries per group; fewer where the valid queries do not suffice for all the groups.
    """
    average_precision = np.asarray(average_precision, dtype=float)
    valid = np.flatnonzero(np.isfinite(average_precision))
    if valid.size == 0:
        return []
    scores = average_precision[valid]
    distance = {"best": -scores, "worst": scores, "median": np.abs(scores - np.median(scores))}
    per_group = min(per_group, -(-valid.size // len(GROUPS)))
    taken: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for group in ("best", "worst", "median"):
        candidates = [int(query) for query in valid[np.argsort(distance[group], kind="stable")]]
        chosen[group] = _distinct(candidates, query_ids, per_group, taken)
        taken.update(chosen[group])
    return [(group, query) for group in GROUPS for query in chosen[group]]


def _distinct(candidates: list[int], query_ids: np.ndarray, count: int, taken: set[int]) -> list[int]:
    """The first `count` free candidates of different identities, topped up with any free ones."""
    free = [query for query in candidates if query not in taken]
    picked: list[int] = []
    seen: set[int] = set()
    for query in free:
        if len(picked) < count and query_ids[query] not in seen:
            picked.append(query)
            seen.add(query_ids[query])
    rest = [query for query in free if query not in picked]
    return picked + rest[: count - len(picked)]
