import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import dbscan, jaccard_distance, nearest_neighbours
from pipeline.common.errors import UserError

GOLDEN = [f"tests/golden/jaccard_{name}.npz" for name in "abcd"]


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clustered(num_images, width=8, seed=0):
    """Groups of about eight similar images, some of them equal."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((num_images // 8 + 1, width))
    rows = centres[rng.integers(0, len(centres), num_images)] + 0.4 * rng.standard_normal((num_images, width))
    copies = rng.integers(0, num_images, (num_images // 10, 2))
    rows[copies[:, 0]] = rows[copies[:, 1]]
    return unit(rows)


def naive(features, rank, k1, k2):
    """The definition, dense and by loops over sets, in double precision."""
    num_images = len(features)
    k1 = min(k1, num_images)
    num_half = min(round(k1 / 2) + 1, k1)
    rank = rank[:, :k1].tolist()

    def reciprocal(i, k):
        return {j for j in rank[i][:k] if i in rank[j][:k]}

    V = np.zeros((num_images, num_images))
    for i in range(num_images):
        expanded = set(reciprocal(i, k1))
        for c in reciprocal(i, k1):
            half = reciprocal(c, num_half)
            if len(half & reciprocal(i, k1)) > 2 / 3 * len(half):
                expanded |= half
        for j in expanded:
            V[i, j] = np.exp(-(2 - 2 * float(features[i].astype(float) @ features[j].astype(float))))
        V[i] /= V[i].sum()
    if k2 > 1:
        V = np.stack([V[rank[i][:k2]].mean(axis=0) for i in range(num_images)])
    shared = np.stack([np.minimum(V[i], V).sum(axis=1) for i in range(num_images)])
    return np.maximum(0, 1 - shared / (2 - shared))


def filled(distance):
    """The dense matrix; pairs that are not stored are at 1."""
    dense = np.ones(distance.shape, np.float32)
    entries = distance.tocoo()
    dense[entries.row, entries.col] = entries.data
    return dense


def assert_well_formed(distance, max_distance):
    assert distance.dtype == np.float32
    assert distance.has_canonical_format
    assert (distance.data >= 0).all() and (distance.data <= np.float32(max_distance)).all()
    dense = filled(distance)
    np.testing.assert_array_equal(dense, dense.T)
    np.testing.assert_array_equal(np.diag(dense), 0)


@pytest.mark.parametrize("path", GOLDEN)
def test_jaccard_distance_golden(path, request):
    golden = np.load(request.config.rootpath / path)
    k1, k2 = int(golden["k1"]), int(golden["k2"])
    distance = jaccard_distance(golden["features"], k1=k1, k2=k2, max_distance=0.999999)
    np.testing.assert_allclose(filled(distance), golden["distance"], rtol=0, atol=1e-5)
    for eps, labels in zip(golden["eps"], golden["labels"], strict=True):
        np.testing.assert_array_equal(dbscan(distance, eps=eps, min_samples=4), labels)
        near = jaccard_distance(golden["features"], k1=k1, k2=k2, max_distance=eps)
        np.testing.assert_array_equal(dbscan(near, eps=eps, min_samples=4), labels)


def test_jaccard_distance_toy():
    # Images 0 and 1 have cosine 1/2, so weights q = e^-1 / (1 + e^-1) and 1 - q: overlap 2 q, distance 1 - 1/e.
    features = np.array([[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, 1]], np.float32)
    rank = np.array([[0, 1], [1, 0], [2, 1]])
    distance = jaccard_distance(features, k1=2, k2=1, max_distance=0.9, neighbours=rank)
    expected = [[0, 1 - np.exp(-1), 1], [1 - np.exp(-1), 0, 1], [1, 1, 0]]
    np.testing.assert_allclose(filled(distance), expected, atol=1e-6)
    assert distance.nnz == 5
    # Averaged over each other, their rows are equal: a distance of 0, which is stored.
    distance = jaccard_distance(features[:2], k1=2, k2=2, max_distance=0.9, neighbours=rank[:2])
    np.testing.assert_allclose(distance.toarray(), np.zeros((2, 2)), atol=1e-6)
    assert distance.nnz == 4


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_jaccard_distance_equals_loops_over_sets(num_images, k1, k2, seed):
    features = clustered(num_images, width=4, seed=seed)
    rank = nearest_neighbours(features, k1)
    distance = jaccard_distance(features, k1=k1, k2=k2, max_distance=0.999999)
    assert_well_formed(distance, 0.999999)
    expected = naive(features, rank, k1, k2)
    np.testing.assert_allclose(filled(distance), expected, rtol=0, atol=1e-5)
    near = jaccard_distance(features, k1=k1, k2=k2, max_distance=0.6, neighbours=rank)
    assert_well_formed(near, 0.6)
    whole = filled(distance)
    np.testing.assert_array_equal(filled(near), np.where(whole <= np.float32(0.6), whole, 1))


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_jaccard_distance_does_not_depend_on_threads(threads):
    features = clustered(1500)
    ours = jaccard_distance(features, k1=20, k2=6, max_distance=0.7, threads=threads)
    reference = jaccard_distance(features, k1=20, k2=6, max_distance=0.7)
    np.testing.assert_array_equal(ours.indptr, reference.indptr)
    np.testing.assert_array_equal(ours.indices, reference.indices)
    np.testing.assert_array_equal(ours.data, reference.data)


def test_jaccard_distance_changes_nothing():
    features = clustered(60)
    rank = nearest_neighbours(features, 12)
    before = features.copy(), rank.copy()
    given = jaccard_distance(features, k1=10, k2=3, max_distance=0.7, neighbours=rank)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(rank, before[1])
    searched = jaccard_distance(torch.from_numpy(features), k1=10, k2=3, max_distance=0.7)
    np.testing.assert_array_equal(filled(given), filled(searched))


@pytest.mark.parametrize("num_images", [1, 2, 10, 45])
def test_jaccard_distance_of_one_identity(num_images):
    features = unit(np.ones((num_images, 4)))
    distance = jaccard_distance(features, k1=10, k2=6, max_distance=0.9)
    expected = naive(features, nearest_neighbours(features, 10), 10, 6)
    np.testing.assert_allclose(filled(distance)[expected < 0.9], expected[expected < 0.9], atol=1e-5)
    if num_images <= 10:
        assert distance.nnz == num_images**2
        assert (dbscan(distance, eps=0.5, min_samples=1) == 0).all()


def test_jaccard_distance_of_no_images():
    distance = jaccard_distance(np.empty((0, 4), np.float32), k1=10, k2=6, max_distance=0.9)
    assert distance.shape == (0, 0)
    assert dbscan(distance, eps=0.5, min_samples=4).shape == (0,)


def test_jaccard_distance_of_images_that_share_nothing():
    distance = jaccard_distance(np.eye(9, dtype=np.float32), k1=1, k2=1, max_distance=0.9)
    np.testing.assert_array_equal(filled(distance), 1 - np.eye(9))
    assert (dbscan(distance, eps=0.9, min_samples=2) == -1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k1": 0}, "k1 and k2 must be at least 1, got k1 0 and k2 3"),
        ({"k2": 0}, "k1 and k2 must be at least 1, got k1 5 and k2 0"),
        ({"max_distance": 1.0}, r"max_distance must be in \(0, 1\), got 1.0"),
        ({"max_distance": 0.0}, r"max_distance must be in \(0, 1\), got 0.0"),
        ({"method": "hnsw"}, "neighbours must be one of exact, approximate, got 'hnsw'"),
        ({"neighbours": np.zeros((19, 5), np.int64)}, r"neighbours must be \(20, 5\) or wider, got shape \(19, 5\)"),
        ({"neighbours": np.zeros((20, 4), np.int64)}, r"neighbours must be \(20, 5\) or wider, got shape \(20, 4\)"),
    ],
)
def test_jaccard_distance_errors(change, message):
    with pytest.raises(ValueError, match=message):
        jaccard_distance(clustered(20), **({"k1": 5, "k2": 3, "max_distance": 0.6} | change))


def test_jaccard_distance_of_a_diverged_network():
    features = clustered(20)
    features[11, 0] = np.nan
    with pytest.raises(UserError, match="features of image 11 are not finite: the training has diverged"):
        jaccard_distance(features, k1=5, k2=3, max_distance=0.6)
