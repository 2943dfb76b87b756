"""k-reciprocal re-ranking: the sparse one against a dense loop and the golden numbers."""

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import CameraAware
from pipeline.common.errors import UserError
from pipeline.evaluation import ranking
from pipeline.evaluation.reranking import reranked_distances

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "retrieval.npz")


def reranked(query, gallery, **settings_):
    """All chunks in one array."""
    return np.concatenate([distance.copy() for _, distance in reranked_distances(query, gallery, **settings_)])


def naive_reranked(query, gallery, *, k1, k2, lambda_):
    """The paper's equations on dense matrices, with sets and loops; neighbours self first, ties by index."""
    images = np.concatenate([query, gallery]).astype(np.float64)
    num, num_queries = len(images), len(query)
    squared = (2 - 2 * images @ images.T) ** 2
    farthest = squared.max(axis=1, keepdims=True)
    squared = squared / np.where(farthest > 0, farthest, 1)
    order = squared.copy()
    np.fill_diagonal(order, -1)
    rank = np.argsort(order, axis=1, kind="stable")

    def reciprocal(image, k):
        return {j for j in rank[image, :k].tolist() if image in rank[j, :k]}

    encoding = np.zeros((num, num))
    for image in range(num):
        own = reciprocal(image, k1 + 1)
        members = set(own)
        for other in own:
            half = reciprocal(other, int(np.around(k1 / 2)) + 1)
            if len(half & own) > 2 / 3 * len(half):
                members |= half
        columns = sorted(members)
        weights = np.exp(-squared[image, columns])
        encoding[image, columns] = weights / weights.sum()
    encoding = np.stack([encoding[rank[image, :k2]].mean(axis=0) for image in range(num)])
    jaccard = np.empty((num_queries, len(gallery)))
    for row in range(num_queries):
        for column in range(len(gallery)):
            shared = np.minimum(encoding[row], encoding[num_queries + column]).sum()
            jaccard[row, column] = 1 - shared / (2 - shared)
    return (1 - lambda_) * jaccard + lambda_ * squared[:num_queries, num_queries:]


def clustered(rng, num, centres):
    rows = centres[rng.integers(0, len(centres), num)] + rng.normal(size=(num, centres.shape[1])) * 0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_reranked_distances_reproduce_the_golden_numbers():
    distance = reranked(GOLDEN["query"], GOLDEN["gallery"])
    np.testing.assert_allclose(distance, GOLDEN["reranked"], rtol=0, atol=1e-6)


def test_reranked_distances_of_a_hand_worked_example():
    # The query and image 0 are each other's only neighbour, so are images 1 and 2 (k1 = 1), at right angles to them.
    # Their squared squared distance (2)^2 is the largest: 1. So: 0 from image 0, and 1 from the others.
    axes = np.eye(2, dtype=np.float32)
    distance = reranked(axes[:1], axes[[0, 1, 1]], k1=1, k2=1, lambda_=0.3)
    np.testing.assert_allclose(distance, [[0, 1, 1]], atol=1e-6)
    # At 60 degrees, 2 - 2 cos is half of that at 90: a quarter after squaring. Nothing is shared: 0.7 + 0.3 / 4.
    between = np.array([[0.5, np.sqrt(0.75)]], dtype=np.float32)
    gallery = np.concatenate([axes[[0]], between, between, axes[[1]] * -1])
    expected = [0, 0.7 + 0.3 / 4, 0.7 + 0.3 / 4, 1]
    np.testing.assert_allclose(reranked(axes[:1], gallery, k1=1, k2=1), [expected], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_queries=st.integers(1, 12),
    num_gallery=st.integers(1, 50),
    k1=st.integers(1, 25),
    k2=st.integers(1, 8),
    lambda_=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_reranked_distances_equal_the_dense_loop(seed, num_queries, num_gallery, k1, k2, lambda_):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 8))
    query, gallery = clustered(rng, num_queries, centres), clustered(rng, num_gallery, centres)
    options: dict[str, Any] = {"k1": k1, "k2": k2, "lambda_": lambda_}
    np.testing.assert_allclose(
        reranked(query, gallery, **options), naive_reranked(query, gallery, **options), rtol=0, atol=2e-6
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_gallery=st.integers(1, 60), k1=st.integers(1, 10))
def test_reranked_distances_equal_the_dense_loop_with_duplicates(seed, num_gallery, k1):
    rng = np.random.default_rng(seed)
    # Exact products, 16 different features: more copies of an image than neighbours are asked for.
    query, gallery = (rng.choice([-0.5, 0.5], (num, 4)).astype(np.float32) for num in (5, num_gallery))
    options: dict[str, Any] = {"k1": k1, "k2": 3, "lambda_": 0.3}
    np.testing.assert_allclose(
        reranked(query, gallery, **options), naive_reranked(query, gallery, **options), rtol=0, atol=2e-6
    )


def naive_camera_aware(query, gallery, how, *, lambda_):
    """CA-Jaccard's neighbours by sets and loops, the rest as in `naive_reranked`."""
    images = np.concatenate([query, gallery]).astype(np.float64)
    num, num_queries = len(images), len(query)
    distance = 1 - (images @ images.T).astype(np.float32)
    squared = (2 - 2 * images @ images.T) ** 2
    farthest = squared.max(axis=1, keepdims=True)
    squared = squared / np.where(farthest > 0, farthest, 1)
    intra, inter = [], []
    for i in range(num):
        order = sorted((j for j in range(num) if j != i), key=lambda j: (distance[i, j], j))
        intra.append([i] + [j for j in order if how.cameras[j] == how.cameras[i]])
        inter.append([j for j in order if how.cameras[j] != how.cameras[i]])
    encoding = np.zeros((num, num))
    for i in range(num):
        near = {j for j in intra[i][: how.k_intra + 1] if i in intra[j][: how.k_intra + 1]}
        columns = sorted(near | {j for j in inter[i][: how.k_inter] if i in inter[j][: how.k_inter]})
        weights = np.exp(-squared[i, columns])
        encoding[i, columns] = weights / weights.sum()
    encoding = np.stack(
        [encoding[intra[i][: how.k2_intra] + inter[i][: how.k2_inter]].mean(axis=0) for i in range(num)]
    )
    jaccard = np.empty((num_queries, len(gallery)))
    for row in range(num_queries):
        for column in range(len(gallery)):
            shared = np.minimum(encoding[row], encoding[num_queries + column]).sum()
            jaccard[row, column] = 1 - shared / (2 - shared)
    return (1 - lambda_) * jaccard + lambda_ * squared[:num_queries, num_queries:]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_queries=st.integers(1, 12),
    num_gallery=st.integers(1, 50),
    num_cameras=st.integers(1, 4),
    tied=st.booleans(),
)
def test_camera_aware_reranking_equals_the_dense_loop(seed, num_queries, num_gallery, num_cameras, tied):
    rng = np.random.default_rng(seed)
    if tied:  # exact products of few different features
        query, gallery = (rng.choice([-0.5, 0.5], (num, 4)).astype(np.float32) for num in (num_queries, num_gallery))
    else:
        centres = rng.normal(size=(6, 8))
        query, gallery = clustered(rng, num_queries, centres), clustered(rng, num_gallery, centres)
    cameras = rng.integers(0, num_cameras, num_queries + num_gallery)
    how = CameraAware(cameras=cameras, k_intra=3, k_inter=6, k2_intra=2, k2_inter=4)
    np.testing.assert_allclose(
        reranked(query, gallery, camera_aware=how),
        naive_camera_aware(query, gallery, how, lambda_=0.3),
        rtol=0,
        atol=2e-6,
    )


def test_reranked_distances_of_identical_images_are_zero():
    features = np.full((30, 4), 0.5, dtype=np.float32)
    np.testing.assert_allclose(reranked(features[:3], features, k1=40, k2=50), np.zeros((3, 30)), atol=1e-6)


def test_reranked_distances_depend_neither_on_chunks_nor_on_threads(monkeypatch):
    rng = np.random.default_rng(0)
    query, gallery = (rng.choice([-0.5, 0.5], (num, 4)).astype(np.float32) for num in (80, 150))
    expected = reranked(query, gallery)
    for chunk_bytes, threads in ((1, 1), (7 * 4 * 230, 2), (79 * 4 * 230, 3)):
        monkeypatch.setattr(ranking, "CHUNK_BYTES", chunk_bytes)
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        np.testing.assert_array_equal(reranked(query, gallery), expected)


@pytest.mark.parametrize("options", [{"k1": 0}, {"k2": 0}, {"lambda_": -0.1}, {"lambda_": 1.5}, {"lambda_": np.nan}])
def test_reranked_distances_refuse_settings_out_of_range(options):
    with pytest.raises(UserError, match="re-ranking needs k1 >= 1, k2 >= 1 and lambda in \\[0, 1\\], got k1"):
        reranked_distances(np.eye(3), np.eye(3), **options)
