"""Signals of clusters without labels, against naive loops."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from pipeline.clustering import cluster_signals

LABELS, CAMERAS = np.array([0, 0, 1, 1, 1, -1, 2]), np.array([1, 2, 1, 1, 1, 2, 2])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 4)), min_size=1, max_size=40))
def test_signals_of_cameras_equal_the_naive_loop(pairs):
    number = {c: n for n, c in enumerate(sorted({c for c, _ in pairs if c >= 0}))}
    labels = np.array([number.get(c, -1) for c, _ in pairs])
    cameras = np.array([k for _, k in pairs])
    entropies, single = [], []
    for cluster in number.values():
        seen = Counter(cameras[labels == cluster].tolist())
        total = sum(seen.values())
        entropies.append(-sum(n / total * math.log(n / total) for n in seen.values()))
        single.append(len(seen) == 1)
    found = cluster_signals(labels, cameras=cameras, before=None)
    if not number or len(set(cameras.tolist())) == 1:
        assert found == {}
        return
    assert found == {
        "camera_entropy": pytest.approx(np.mean(entropies) / math.log(len(set(cameras.tolist()))), abs=1e-12),
        "single_camera": np.mean(single),
    }


def test_signals_by_hand():
    # Cluster 0 is seen by both cameras, 1 and 2 by one each.
    found = cluster_signals(LABELS, cameras=CAMERAS, before=LABELS)
    assert found == {"camera_entropy": pytest.approx(1 / 3), "single_camera": 2 / 3, "ari_last_epoch": 1}


def test_agreement_takes_an_outlier_for_a_cluster_of_its_own():
    before = np.array([1, 1, 0, 0, -1, -1, 2])
    alone, other = np.array([0, 0, 1, 1, 1, 3, 2]), np.array([1, 1, 0, 0, 3, 4, 2])
    found = cluster_signals(LABELS, cameras=None, before=before)
    assert found == {"ari_last_epoch": pytest.approx(adjusted_rand_score(alone, other))}


@pytest.mark.parametrize("cameras", [None, np.ones(7, np.int64)])
def test_signals_of_cameras_are_absent_where_there_are_none_to_tell_apart(cameras):
    assert cluster_signals(LABELS, cameras=cameras, before=None) == {}


def test_signals_of_cameras_are_absent_where_there_is_no_cluster():
    assert cluster_signals(np.full(7, -1), cameras=CAMERAS, before=None) == {}
