"""Average precision, first match and inverse negative penalty of every query, from a matrix of distances.

Only the ranks of the matches are needed, and a rank is a count: how many images are nearer. So no row is sorted;
each row is read once per match, in vector instructions (binary search once a row has many matches).

Equal distances, as in the usual per-query loop (numpy.argsort and scikit-learn's average_precision_score):
- average precision takes all images at one distance at once (a match's precision is the share of matches among all
  images that are as near or nearer), so it does not depend on the order of the gallery;
- first match and hardest match (CMC, mINP) take images at one distance in gallery order (a stable argsort).

Shapes: distance (Q, M), query_ids and query_cams (Q,), gallery_ids and gallery_cams (M,).
Source of mINP: Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, TPAMI 2021.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.common.kernels import compiled, over_rows
from pipeline.evaluation.ranking import BLOCK

# Up to about this many matches, a vectorised pass for each is faster than a binary search for each image.
FEW_MATCHES = 2_000


@dataclass(frozen=True, eq=False)
class QueryScores:
    """One entry per query; queries without a match in the filtered gallery hold NaN, and 0 for the rank.

    Attributes:
        average_precision: (Q,) float64 in (0, 1].
        first_rank: (Q,) int64, the rank of the first match, from 1.
        inverse_negative_penalty: (Q,) float64 in (0, 1], matches / rank of the last match.
    """

    average_precision: NDArray[np.float64]
    first_rank: NDArray[np.int64]
    inverse_negative_penalty: NDArray[np.float64]


def score_queries(
    distance: NDArray[np.float32],
    query_ids: NDArray[np.int64],
    query_cams: NDArray[np.int64] | None,
    gallery_ids: NDArray[np.int64],
    gallery_cams: NDArray[np.int64] | None,
) -> QueryScores:
    """Scores every query on the gallery without the images of its identity in its camera.

    Args:
        distance: (Q, M), smaller is nearer, no NaN.
        query_ids, gallery_ids: identities.
        query_cams, gallery_cams: cameras; None (both): nothing is filtered.
    """
    num_queries = len(query_ids)
    assert distance.shape == (num_queries, len(gallery_ids)), (distance.shape, num_queries, len(gallery_ids))
    assert (query_cams is None) == (gallery_cams is None)
    none = np.empty(0, dtype=np.int64)
    by_identity = np.argsort(gallery_ids, kind="stable")
    scores = QueryScores(
        average_precision=np.full(num_queries, np.nan),
        first_rank=np.zeros(num_queries, dtype=np.int64),
        inverse_negative_penalty=np.full(num_queries, np.nan),
    )
    firsts, lasts = (np.searchsorted(gallery_ids, query_ids, side, sorter=by_identity) for side in ("left", "right"))
    cams = (none, none) if query_cams is None else (query_cams, gallery_cams)
    results = (scores.average_precision, scores.first_rank, scores.inverse_negative_penalty)
    over_rows(
        lambda start, stop: _score_rows(distance, by_identity, firsts, lasts, *cams, *results, start, stop),
        num_queries,
        rows=BLOCK,
    )
    return scores


@compiled
def _score_rows(  # type: ignore[no-untyped-def]
    distance, by_identity, firsts, lasts, query_cams, gallery_cams, precision, first, penalty, start, stop
):
    for query in range(start, stop):
        row = distance[query]
        own = by_identity[firsts[query] : lasts[query]]
        removed = np.zeros(len(own), dtype=np.bool_)
        if len(query_cams) > 0:
            removed = gallery_cams[own] == query_cams[query]
        matches, left_out = own[~removed], own[removed]
        if len(matches) == 0:
            continue
        # `matches` rises, so a stable sort puts equal distances in gallery order.
        matches = matches[np.argsort(row[matches], kind="mergesort")]
        levels = row[matches]
        near = _count_up_to(row, levels)
        near -= _count_up_to(row[left_out], levels)
        precision[query] = _average_precision(levels, near)
        first[query] = 1 + _count_before(row, matches[0], left_out)
        penalty[query] = len(matches) / (1 + _count_before(row, matches[-1], left_out))


@compiled
def _average_precision(levels, near):  # type: ignore[no-untyped-def]
    """Mean over the matches of (matches at this distance or nearer) / (images at this distance or nearer)."""
    total = 0.0
    num = len(levels)
    group_end = num
    for place in range(num - 1, -1, -1):
        if place + 1 < num and levels[place] != levels[place + 1]:
            group_end = place + 1
        total += group_end / near[place]
    return total / num


@compiled
def _count_up_to(row, levels):  # type: ignore[no-untyped-def]
    """For each of the rising `levels`, the number of entries of `row` that are at most that."""
    counts = np.zeros(len(levels), dtype=np.int64)
    if len(levels) <= FEW_MATCHES:
        for place in range(len(levels)):
            level = levels[place]
            count = np.int32(0)
            for column in range(len(row)):
                # Cast back: numba widens the sum to 64 bits, which halves the lanes.
                count = np.int32(count + np.int32(row[column] <= level))
            counts[place] = count
        return counts
    for value in row:
        place = np.searchsorted(levels, value)
        if place < len(levels):
            counts[place] += 1
    return np.cumsum(counts)


@compiled
def _count_before(row, match, left_out):  # type: ignore[no-untyped-def]
    """The number of images in front of `match` in a stable sort, those `left_out` not counted."""
    level = row[match]
    count = 0
    for column in range(match):
        count += row[column] <= level
    for column in range(match + 1, len(row)):
        count += row[column] < level
    for column in left_out:
        count -= row[column] < level or (row[column] == level and column < match)
    return count
