import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import centroids


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_centroids_toy():
    features = unit([[1, 0], [0, 1], [0, 1], [-1, 0]])
    found = centroids(features, np.array([1, 1, 0, -1]))
    np.testing.assert_allclose(found, [[0, 1], [0.5**0.5, 0.5**0.5]], rtol=1e-6)
    assert found.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_centroids_equal_a_loop(num_clusters, others, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.concatenate((np.arange(num_clusters), rng.integers(-1, num_clusters, others))))
    features = unit(rng.standard_normal((len(labels), 6)))
    before = features.copy(), labels.copy()
    found = centroids(features, labels)
    np.testing.assert_array_equal(found, centroids(torch.from_numpy(features), labels))
    for cluster in range(num_clusters):
        mean = features[labels == cluster].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(found[cluster], mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_centroids_of_outliers_only():
    assert centroids(unit([[1, 0], [0, 1]]), np.array([-1, -1])).shape == (0, 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0], r"labels must be \(3,\), one for each image, got shape \(2,\)"),
        ([0, 2, 2], "cluster 1 has no members: labels must be 0 to K - 1"),
        ([0, 0, 1], "the embeddings of cluster 0 cancel out"),
    ],
)
def test_centroids_errors(labels, message):
    with pytest.raises(ValueError, match=message):
        centroids(unit([[1, 0], [-1, 0], [0, 1]]), np.array(labels))
