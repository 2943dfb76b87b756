"""The silhouette against scikit-learn's on the whole matrix."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples

from pipeline.clustering import dbscan, jaccard_distance
from pipeline.clustering.silhouette import silhouette


def dense(distance: sp.csr_array) -> np.ndarray:
    """With 1 where nothing was kept."""
    full = np.ones(distance.shape)
    for i in range(distance.shape[0]):
        places = slice(distance.indptr[i], distance.indptr[i + 1])
        full[i, distance.indices[places]] = distance.data[places]
    np.fill_diagonal(full, 0)
    return full


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.05, 1), limit=st.floats(0.3, 0.9), ties=st.booleans())
def test_silhouette_is_that_of_scikit_learn(seed: int, spread: float, limit: float, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((12, 6))[np.arange(60) % 12] + spread * rng.standard_normal((60, 6))
    if ties:
        features[30:40] = features[:10]
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    distance = jaccard_distance(features, k1=8, k2=3, max_distance=limit)
    labels = dbscan(distance, eps=limit, min_samples=3)
    found = silhouette(labels, distance)
    clustered = labels >= 0
    if labels.max(initial=-1) < 1:
        assert found is None
        return
    whole = dense(distance)[np.ix_(clustered, clustered)]
    assert found == pytest.approx(silhouette_samples(whole, labels[clustered], metric="precomputed").mean(), abs=1e-6)


def test_separate_pairs_have_silhouette_one_and_a_cluster_of_one_has_none() -> None:
    pairs = sp.csr_array(np.kron(np.eye(2), [[0, 0.25], [0.25, 0]]) + 0)
    assert silhouette(np.array([0, 0, 1, 1]), pairs) == 0.75
    assert silhouette(np.array([0, 0, 1, -1]), pairs) == pytest.approx((0.75 + 0.75 + 0) / 3)
    assert silhouette(np.array([0, 0, 0, 0]), pairs) is None


def test_sample_is_near_the_whole() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 16))[np.arange(600) % 40] + 0.3 * rng.standard_normal((600, 16))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    distance = jaccard_distance(features, k1=15, k2=4, max_distance=0.6)
    labels = dbscan(distance, eps=0.6, min_samples=4)
    assert silhouette(labels, distance, sample=150) == pytest.approx(silhouette(labels, distance), abs=0.05)
