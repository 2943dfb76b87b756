"""Which clusters are trusted: toys by hand, sets instead of counts, properties, and the step as a whole."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import Reliability, dbscan, jaccard_distance, pseudo_labels
from pipeline.clustering.reliability import reliable


def naive(labels: list[int], loose: list[int], tight: list[int], threshold: float | None, independent: float):
    """The definition, image by image, on sets."""

    def own(clusters: list[int], i: int) -> set[int]:
        return {i} if clusters[i] < 0 else {j for j, cluster in enumerate(clusters) if cluster == clusters[i]}

    def overlap(one: set[int], other: set[int]) -> float:
        return len(one & other) / len(one | other)

    clusters = sorted({cluster for cluster in labels if cluster >= 0})
    members = {c: [i for i, cluster in enumerate(labels) if cluster == c] for c in clusters}
    independence = {c: min(overlap(own(labels, i), own(loose, i)) for i in members[c]) for c in clusters}
    if threshold is None and clusters:
        best_first = sorted(independence.values(), reverse=True)
        threshold = best_first[max(1, math.ceil(independent * len(clusters))) - 1]
    kept, number = [-1] * len(labels), 0
    for c in clusters:
        assert threshold is not None
        if independence[c] < threshold:
            continue
        compactness = {i: overlap(own(labels, i), own(tight, i)) for i in members[c]}
        for i, value in compactness.items():
            if value >= max(compactness.values()):
                kept[i] = number
        number += 1
    return kept, threshold


def clusterings(draw_length: int = 14) -> st.SearchStrategy[list[list[int]]]:
    return st.integers(1, draw_length).flatmap(
        lambda n: st.lists(st.lists(st.integers(-1, 4), min_size=n, max_size=n), min_size=3, max_size=3)
    )


def numbered(labels: list[int]) -> np.ndarray:
    """The same clusters with the numbers 0, 1, ..., as DBSCAN gives them."""
    found = np.array(labels)
    found[found >= 0] = np.unique(found[found >= 0], return_inverse=True)[1]
    return found


@settings(max_examples=150, deadline=None)
@given(
    drawn=clusterings(), threshold=st.sampled_from([None, 0.3, 0.75, 1.0]), independent=st.sampled_from([0.4, 0.9, 1.0])
)
def test_reliable_equals_naive_loop(drawn: list[list[int]], threshold: float | None, independent: float) -> None:
    labels, loose, tight = (numbered(each) for each in drawn)
    given_labels = labels.copy()
    kept, found = reliable(labels, loose, tight, threshold=threshold, independent=independent)
    expected, expected_threshold = naive(labels.tolist(), loose.tolist(), tight.tolist(), threshold, independent)
    np.testing.assert_array_equal(kept, expected)
    assert found == (pytest.approx(expected_threshold) if expected_threshold is not None else None)
    np.testing.assert_array_equal(labels, given_labels)


def test_reliable_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, -1])
    loose = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1])  # 1 and 2 melt: independence 1/2 each; cluster 0 has 1
    tight = np.array([0, 0, 0, -1, 1, 1, 2, 2, -1])  # cluster 0 loses one of four
    kept, threshold = reliable(labels, loose, tight, threshold=None, independent=0.3)
    assert threshold == 1
    np.testing.assert_array_equal(kept, [0, 0, 0, -1, -1, -1, -1, -1, -1])
    kept, threshold = reliable(labels, loose, tight, threshold=None, independent=1.0)
    assert threshold == 0.5
    np.testing.assert_array_equal(kept, [0, 0, 0, -1, 1, 1, 2, 2, -1])


def test_threshold_of_the_first_epoch_stays() -> None:
    labels, apart = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    melted = np.zeros(4, dtype=np.int64)
    _, threshold = reliable(labels, apart, apart, threshold=None, independent=0.9)
    kept, again = reliable(labels, melted, apart, threshold=threshold, independent=0.9)
    assert threshold == again == 1 and (kept == -1).all()


def test_no_cluster_sets_no_threshold() -> None:
    alone = np.full(3, -1)
    kept, threshold = reliable(alone, alone, alone, threshold=None, independent=0.9)
    assert threshold is None and (kept == -1).all()


def test_pseudo_labels_are_the_reliable_ones_of_three_clusterings() -> None:
    rng = np.random.default_rng(3)
    features = np.repeat(rng.normal(size=(12, 16)), 9, axis=0) + rng.normal(scale=0.75, size=(108, 16))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    options: dict[str, Any] = {"min_samples": 3, "k1": 10, "k2": 3}
    found = pseudo_labels(
        features, eps=0.5, neighbours="exact", reliability=Reliability(delta=0.15, independent=0.6), **options
    )
    distance = jaccard_distance(features, k1=10, k2=3, max_distance=0.9)
    labels, loose, tight = (dbscan(distance, eps=eps, min_samples=3) for eps in (0.5, 0.65, 0.35))
    expected, threshold = naive(labels.tolist(), loose.tolist(), tight.tolist(), None, 0.6)
    np.testing.assert_array_equal(found.labels, expected)
    assert found.independence_threshold == pytest.approx(threshold)
    assert found.num_unreliable == ((labels >= 0) & (found.labels < 0)).sum() > 0
    plain = pseudo_labels(features, eps=0.5, neighbours="exact", **options)
    assert plain.num_unreliable is None and plain.independence_threshold is None
    np.testing.assert_array_equal(plain.labels, labels)
