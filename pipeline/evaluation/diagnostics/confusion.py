"""Which identities the network takes for each other.

Shapes: features (Q, D) and (M, D), ids and own numbers (Q,) and (M,); P: places of a list that are looked at.
"""

import numpy as np
import pandas as pd

from pipeline.evaluation.ranking import checked_features, top_matches

COLUMNS = ("identity", "other", "count", "query", "gallery", "similarity")
DISTRACTOR = 0


def confused_pairs(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    *,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_own: np.ndarray,
    gallery_own: np.ndarray,
    pairs: int = 8,
    examples: int = 3,
    places: int = 50,
) -> pd.DataFrame:
    """The pairs of identities whose images most often stand above the right matches of the other.

    Every query ranks the gallery by cosine, without the images of its identity that share its own number. An image of
    identity b in one of the first `places` of a query of identity a counts once for the pair {a, b} if it stands above
    a right match, that is: if a right match of the query comes further down, in whatever place. Both directions add
    up. Distractors (identity 0) have no identity, and belong to no pair.

    Args:
        query_features, gallery_features: (Q, D) and (M, D); their length does not matter.
        query_ids, gallery_ids: (Q,) and (M,) identities.
        query_own, gallery_own: (Q,) and (M,) what takes an image out of a query's list: cameras, or numbers of files.
        pairs: How many to return at most, those with the highest count; of equal ones those with the lower identities.
        examples: Images that stood above a right match, of each pair, the most similar first; no image comes twice.
        places: P, the places of a list that are looked at.

    Returns:
        One row per example, columns `COLUMNS`: the pair (`identity` < `other`) with its `count`, the example's row in
        the query split and in the gallery split, and their cosine. Pairs by falling count.

    Raises:
        UserError: as `evaluate`, for features and labels that do not fit together.
    """
    labels = {"query_ids": query_ids, "query_cams": query_own, "gallery_ids": gallery_ids, "gallery_cams": gallery_own}
    top = top_matches(query_features, gallery_features, k=places, **labels)  # (Q, P), -1 where there is no image
    found = np.where(top >= 0, gallery_ids[top], DISTRACTOR)
    right = (found == query_ids[:, None]) & (top >= 0)
    above = right.cumsum(axis=1) < _num_matches(**labels)[:, None]  # a right match comes further down
    asked, place = np.nonzero(above & ~right & (found != DISTRACTOR) & (query_ids != DISTRACTOR)[:, None])
    there = top[asked, place]
    identities = np.sort(np.stack([query_ids[asked], gallery_ids[there]], axis=1), axis=1)
    seen = pd.DataFrame({"identity": identities[:, 0], "other": identities[:, 1], "query": asked, "gallery": there})
    counts = seen.groupby(["identity", "other"]).size().rename("count").reset_index()
    most = counts.sort_values(["count", "identity", "other"], ascending=[False, True, True], kind="stable")[:pairs]
    # Of the pairs that are shown alone: all that stood above a right match would be many times the embeddings.
    seen = most.merge(seen, on=["identity", "other"], how="left")
    seen["similarity"] = _cosines(query_features, gallery_features, seen["query"], seen["gallery"])
    order = ["count", "identity", "other", "similarity", "query", "gallery"]
    seen = seen.sort_values(order, ascending=[False, True, True, False, True, True], kind="stable")
    shown = [_different(images, examples) for _, images in seen.groupby(["identity", "other"], sort=False)]
    return pd.concat(shown or [seen], ignore_index=True)[list(COLUMNS)]


def _cosines(
    query_features: np.ndarray, gallery_features: np.ndarray, queries: "pd.Series[int]", places: "pd.Series[int]"
) -> np.ndarray:
    """(n,) cosines of query and gallery image of each row."""
    query, query_norms = checked_features(query_features, "query_features")
    gallery, gallery_norms = checked_features(gallery_features, "gallery_features")
    asked, there = queries.to_numpy(), places.to_numpy()
    products = np.einsum("nd,nd->n", query[asked], gallery[there])
    return np.asarray(products / (query_norms[asked] * gallery_norms[there]))


def _num_matches(
    query_ids: np.ndarray, query_cams: np.ndarray, gallery_ids: np.ndarray, gallery_cams: np.ndarray
) -> np.ndarray:
    """(Q,) right matches that each query's list has, in all its places."""
    gallery = pd.DataFrame({"pid": gallery_ids, "own": gallery_cams})
    of_identity, shared = gallery.groupby("pid").size(), gallery.groupby(["pid", "own"]).size()
    everywhere = of_identity.reindex(query_ids, fill_value=0).to_numpy()
    taken_out = shared.reindex(pd.MultiIndex.from_arrays([query_ids, query_cams]), fill_value=0).to_numpy()
    return np.asarray(everywhere - taken_out)


def _different(images: pd.DataFrame, most: int) -> pd.DataFrame:
    """The first rows in which neither query nor gallery image has been shown."""
    queries: set[int] = set()
    others: set[int] = set()
    rows: list[int] = []
    for row, (query, other) in enumerate(zip(images["query"], images["gallery"], strict=True)):
        if len(rows) < most and query not in queries and other not in others:
            rows.append(row)
            queries.add(query)
            others.add(other)
    return images.iloc[rows]
