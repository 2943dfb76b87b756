"""Distances within and between clusters: by hand, and against a naive loop."""

import numpy as np
import pytest

from pipeline.clustering import centroids, cluster_spread


def test_spread_by_hand() -> None:
    features = np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    labels = np.array([0, 0, 1, -1])
    within, between = cluster_spread(features, labels, centroids(features, labels))
    assert within == pytest.approx(0) and between == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_spread_equals_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(5000, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(-1, 6, 5000)
    means = centroids(features, labels)
    near = [1 - float(f @ means[c]) for f, c in zip(features, labels, strict=True) if c >= 0]
    apart = [min(1 - float(a @ b) for j, b in enumerate(means) if j != i) for i, a in enumerate(means)]
    within, between = cluster_spread(features, labels, means)
    assert within == pytest.approx(np.mean(near), abs=1e-5) and between == pytest.approx(np.mean(apart), abs=1e-5)


def test_spread_of_one_cluster_or_none() -> None:
    features = np.eye(3, dtype=np.float32)
    labels = np.array([0, 0, -1])
    within, between = cluster_spread(features, labels, centroids(features, labels))
    assert within == pytest.approx(1 - 2**-0.5) and between is None
    nobody = np.full(3, -1)
    assert cluster_spread(features, nobody, centroids(features, nobody)) == (None, None)
