"""Cluster quality: by hand, by naive loops over all pairs, and at its ends."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clustering.quality import cluster_quality


def test_quality_by_hand() -> None:
    # Clusters {a a b} and {b b}, and an outlier of a: 4 pairs joined, 2 of them rightly; 6 pairs of one identity.
    found = cluster_quality(np.array([0, 0, 0, 1, 1, -1]), np.array([7, 7, 9, 9, 9, 7]))
    assert found["pairwise_precision"] == 2 / 4
    assert found["pairwise_recall"] == 2 / 6
    assert found["pairwise_f"] == pytest.approx(2 * (0.5 / 3) / (0.5 + 1 / 3))
    assert found["purity"] == 4 / 5


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 4)), min_size=1, max_size=25))
def test_quality_is_what_loops_over_all_pairs_count(rows: list[tuple[int, int]]) -> None:
    labels, pids = np.array(rows).T
    joined = same = both = 0
    for (one, first), (other, second) in combinations(rows, 2):
        together = one == other and one >= 0
        joined, same, both = joined + together, same + (first == second), both + (together and first == second)
    found = cluster_quality(labels, pids)
    assert found["pairwise_precision"] == pytest.approx(both / joined if joined else 0)
    assert found["pairwise_recall"] == pytest.approx(both / same if same else 0)
    clusters = {label: Counter(pid for one, pid in rows if one == label) for label, _ in rows if label >= 0}
    inside = sum(counts.total() for counts in clusters.values())
    best = sum(max(counts.values()) for counts in clusters.values())
    assert found["purity"] == pytest.approx(best / inside if inside else 0)
    assert all(-1 <= value <= 1 for value in found.values())


def test_quality_of_the_truth_is_one_whatever_the_names() -> None:
    found = cluster_quality(np.array([2, 2, 0, 0, 1, 1]), np.array([5, 5, 9, 9, 3, 3]))
    assert set(found.values()) == {1.0}


def test_quality_without_any_cluster_joins_nothing() -> None:
    found = cluster_quality(np.full(4, -1), np.array([1, 1, 2, 2]))
    assert [found[key] for key in ("pairwise_precision", "pairwise_recall", "pairwise_f", "ari", "purity")] == [0] * 5


def test_quality_leaves_its_input_alone() -> None:
    labels, pids = np.array([0, 0, -1]), np.array([1, 1, 1])
    cluster_quality(labels, pids)
    assert labels.tolist() == [0, 0, -1] and pids.tolist() == [1, 1, 1]
