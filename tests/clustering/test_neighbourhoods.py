import numpy as np
import pytest

from pipeline.clustering.neighbourhoods import soft_neighbourhoods

# Two images with cosine 1/2, so a squared distance of 1, and two that have nothing in common with anyone.
EMBEDDINGS = np.array([[1, 0, 0, 0], [0.5, 0.75**0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
NEAR = 1 / (1 + np.exp(-1))  # softmax of (0, -1)


def dense(rows):
    num_images = len(rows.starts) - 1
    out = np.zeros((num_images, num_images))
    for i in range(num_images):
        span = slice(rows.starts[i], rows.starts[i + 1])
        assert len(set(rows.columns[span].tolist())) == span.stop - span.start
        out[i, rows.columns[span]] = rows.weights[span]
    return out


def members(rank, i):
    embeddings = np.tile(np.array([[1, 0]], np.float32), (len(rank), 1))
    rows = soft_neighbourhoods(embeddings, np.array(rank, np.int32), k2=1)
    weights = dense(rows)[i]
    found = np.flatnonzero(weights)
    np.testing.assert_allclose(weights[found], 1 / len(found), rtol=1e-6)
    return set(found.tolist())


def test_soft_neighbourhoods_toy():
    # 2 has 1 among its nearest, but not the other way round: not reciprocal.
    rank = np.array([[0, 1], [1, 0], [2, 1], [3, 2]], np.int32)
    expected = [[NEAR, 1 - NEAR, 0, 0], [1 - NEAR, NEAR, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(dense(soft_neighbourhoods(EMBEDDINGS, rank, k2=1)), expected, atol=1e-6)


def test_soft_neighbourhoods_average_over_the_nearest_k2():
    rank = np.array([[0, 1], [1, 0], [2, 1], [3, 2]], np.int32)
    expected = [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [(1 - NEAR) / 2, NEAR / 2, 0.5, 0], [0, 0, 0.5, 0.5]]
    np.testing.assert_allclose(dense(soft_neighbourhoods(EMBEDDINGS, rank, k2=2)), expected, atol=1e-6)


def test_soft_neighbourhoods_expand_by_a_half_set_of_which_three_quarters_are_shared():
    # R(0, 6) = {0, 1, 2}. H(1) = H(2) = {0, 1, 2, 3}, by the first four columns: 3/4 of them shared, so 3 joins.
    rank = [
        [0, 1, 2, 4, 5, 6],
        [1, 0, 2, 3, 4, 5],
        [2, 1, 0, 3, 4, 5],
        [3, 1, 2, 7, 6, 5],
        [4, 5, 6, 7, 3, 2],
        [5, 6, 4, 7, 3, 2],
        [6, 5, 4, 7, 3, 2],
        [7, 6, 5, 4, 3, 2],
    ]
    assert members(rank, 0) == {0, 1, 2, 3}


def test_soft_neighbourhoods_do_not_expand_by_a_half_set_of_which_two_thirds_are_shared():
    # R(0, 4) = {0, 1}. H(1) = {0, 1, 2}, by the first three columns: exactly 2/3 shared.
    rank = [[0, 1, 3, 4], [1, 0, 2, 3], [2, 1, 3, 4], [3, 4, 2, 1], [4, 3, 2, 1]]
    assert members(rank, 0) == {0, 1}


@pytest.mark.parametrize("k2", [1, 4])
def test_soft_neighbourhoods_rows_sum_to_one(k2):
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((600, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    rank = np.argsort(-embeddings @ embeddings.T, axis=1)[:, :12].astype(np.int32)
    rows = soft_neighbourhoods(embeddings, rank, k2=k2)
    assert (rows.weights > 0).all()
    np.testing.assert_allclose(np.add.reduceat(rows.weights, rows.starts[:-1]), 1, rtol=1e-5)
