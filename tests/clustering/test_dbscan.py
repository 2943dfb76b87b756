import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from pipeline.clustering import dbscan

FAR = 9.0


def sparse(dense):
    """The entries nearer than FAR, zeros explicit."""
    rows, columns = np.nonzero(dense < FAR)
    return sp.csr_array((dense[rows, columns], (rows, columns)), shape=dense.shape)


@st.composite
def matrices(draw):
    """Symmetric distances on a coarse grid, so that many equal eps and many are 0; most pairs are far apart."""
    num_images = draw(st.integers(0, 40))
    near = draw(st.sampled_from([0.02, 0.1, 0.3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dense = rng.integers(0, 11, (num_images, num_images)) / 10
    dense[rng.random(dense.shape) > near] = FAR
    dense = np.minimum(dense, dense.T)
    np.fill_diagonal(dense, 0)
    return dense.astype(draw(st.sampled_from([np.float32, np.float64])))


def test_dbscan_toy():
    # 0-1-2 a chain of core points; 3 a border point of it; 4-5-6 another cluster; 3 is near 4, too; 7 alone.
    dense = np.full((8, 8), FAR, np.float32)
    np.fill_diagonal(dense, 0)
    for i, j in [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (4, 6)]:
        dense[i, j] = dense[j, i] = 0.5
    np.testing.assert_array_equal(dbscan(sparse(dense), eps=0.5, min_samples=3), [0, 0, 0, 0, 0, 0, 0, -1])
    # With 4, only 2 and 4 are core points, and 3, between them, joins the first.
    np.testing.assert_array_equal(dbscan(sparse(dense), eps=0.5, min_samples=4), [0, 0, 0, 0, 1, 1, 1, -1])


@settings(max_examples=150, deadline=None)
@given(matrices(), st.integers(1, 6), st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_dbscan_equals_scikit_learn_on_the_dense_matrix(dense, min_samples, eps):
    ours = dbscan(sparse(dense), eps=eps, min_samples=min_samples)
    if len(dense) == 0:
        assert ours.shape == (0,)
        return
    theirs = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(dense)
    np.testing.assert_array_equal(ours, theirs)


def test_dbscan_zero_entries_are_neighbours():
    distance = sparse(np.zeros((4, 4), np.float32))
    assert distance.nnz == 16
    np.testing.assert_array_equal(dbscan(distance, eps=0.1, min_samples=4), [0, 0, 0, 0])
    distance.eliminate_zeros()
    np.testing.assert_array_equal(dbscan(distance, eps=0.1, min_samples=4), [-1, -1, -1, -1])


def test_dbscan_counts_an_image_once_with_and_without_its_diagonal_entry():
    dense = np.full((3, 3), 0.2, np.float32)
    with_diagonal = sparse(np.where(np.eye(3, dtype=bool), np.float32(0), dense))
    without = sparse(np.where(np.eye(3, dtype=bool), np.float32(FAR), dense))
    for distance in (with_diagonal, without):
        np.testing.assert_array_equal(dbscan(distance, eps=0.2, min_samples=3), [0, 0, 0])
        np.testing.assert_array_equal(dbscan(distance, eps=0.2, min_samples=4), [-1, -1, -1])


def test_dbscan_all_outliers_and_no_images():
    nothing = sp.csr_array((5, 5), dtype=np.float32)
    np.testing.assert_array_equal(dbscan(nothing, eps=0.6, min_samples=2), [-1] * 5)
    np.testing.assert_array_equal(dbscan(nothing, eps=0.6, min_samples=1), [0, 1, 2, 3, 4])
    assert dbscan(sp.csr_array((0, 0), dtype=np.float32), eps=0.6, min_samples=4).shape == (0,)


def test_dbscan_accepts_unsorted_entries_and_changes_nothing():
    columns = np.array([2, 0, 1, 2, 0, 1, 0, 2, 1], np.int32)
    data = np.array([0.9, 0, 0.1, 0.2, 0.1, 0, 0.9, 0, 0.2])
    distance = sp.csr_array((data.copy(), columns.copy(), np.array([0, 3, 6, 9])), shape=(3, 3))
    np.testing.assert_array_equal(dbscan(distance, eps=0.2, min_samples=2), [0, 0, 0])
    np.testing.assert_array_equal(distance.data, data)
    np.testing.assert_array_equal(distance.indices, columns)


@pytest.mark.parametrize(
    ("distance", "change", "message"),
    [
        (np.zeros((2, 2)), {}, r"distance must be a square sparse matrix, got ndarray of shape \(2, 2\)"),
        ([[0.0]], {}, "distance must be a square sparse matrix, got list"),
        (sp.csr_array((2, 3)), {}, r"must be a square sparse matrix, got csr_array of shape \(2, 3\)"),
        (sp.csr_array((2, 2), dtype=np.int64), {}, "distance must be float32 or float64, got int64"),
        (sp.csr_array((2, 2)), {"eps": 0.0}, "eps must be greater than 0, got 0.0"),
        (sp.csr_array((2, 2)), {"eps": float("nan")}, "eps must be greater than 0, got nan"),
        (sp.csr_array((2, 2)), {"min_samples": 0}, "min_samples must be at least 1, got 0"),
    ],
)
def test_dbscan_errors(distance, change, message):
    with pytest.raises(ValueError, match=message):
        dbscan(distance, **({"eps": 0.5, "min_samples": 4} | change))
