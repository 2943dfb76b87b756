from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import candidates, inverted_file, nearest_neighbours, neighbours, nn_descent, recall
from pipeline.config.schema import Clustering


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@st.composite
def embeddings(draw):
    """Rows on a coarse grid: equal rows, and equal similarities of different rows, are frequent."""
    num_images = draw(st.integers(1, 60))
    width = draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(-1, 2, (num_images, width)).astype(np.float32)
    rows[:, 0] += 1.5  # no row is zero
    return unit(rows)


def naive(features, k, rows=None):
    """By sorting all similarities of each image, or of some."""
    wide = features.astype(np.float64)
    ranking = []
    for i in range(len(features)) if rows is None else rows:
        similarity = (wide @ wide[i]).astype(np.float32)
        others = [j for j in range(len(features)) if j != i]
        ranking.append([i, *sorted(others, key=lambda j: (-similarity[j], j))][:k])
    return np.array(ranking, np.int64)


def random_unit(num_images, width, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((num_images, width)))


def test_nearest_neighbours_toy():
    angles = np.radians([0, 10, 30, 180])
    features = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    found = nearest_neighbours(features, 3)
    np.testing.assert_array_equal(found, [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]])
    assert found.dtype == np.int64


@settings(max_examples=100, deadline=None)
@given(embeddings(), st.integers(1, 30))
def test_nearest_neighbours_equal_a_sort(features, k):
    np.testing.assert_array_equal(nearest_neighbours(features, k), naive(features, k))


@settings(max_examples=20, deadline=None)
@given(embeddings(), st.integers(1, 12))
def test_nearest_neighbours_equal_a_sort_over_many_tiles(features, k):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "TILE", 8)
        patch.setattr(neighbours, "SPARE", 2)
        patch.setattr(neighbours, "PRODUCTS", 100)
        np.testing.assert_array_equal(nearest_neighbours(features, k), naive(features, k))


@settings(max_examples=60, deadline=None)
@given(embeddings(), st.integers(1, 12), st.integers(0, 3))
def test_nearest_neighbours_equal_a_sort_with_the_device_search(features, k, spare):
    k = min(k, len(features))
    width = min(k + spare, len(features))
    found = candidates.on_device(torch.from_numpy(features), width, chunk=100)
    np.testing.assert_array_equal(neighbours._ranked(features, found, k, None), naive(features, k))


def test_nearest_neighbours_at_a_size_of_several_tiles():
    features = random_unit(2500, 16)
    found = nearest_neighbours(features, 30)
    similarity = features.astype(np.float64) @ features.T.astype(np.float64)
    np.fill_diagonal(similarity, 2)
    np.testing.assert_array_equal(found, np.argsort(-similarity.astype(np.float32), axis=1, kind="stable")[:, :30])


def test_nearest_neighbours_of_equal_images_follow_the_catalogue():
    # 100 equal images: more than k and all spare candidates; then 5 others.
    features = unit(np.concatenate((np.tile([[3.0, 4.0, 5.0]], (100, 1)), np.eye(3)[[0, 1, 2, 0, 1]])))
    found = nearest_neighbours(features, 30)
    for i in range(100):
        assert found[i].tolist() == [i, *[j for j in range(30) if j != i][:29]]
    assert found[100].tolist()[:2] == [100, 103]
    assert found[103].tolist()[:2] == [103, 100]
    np.testing.assert_array_equal(found, naive(features, 30))


@pytest.mark.parametrize("spread", [0, 1e-7, 1e-5])
def test_nearest_neighbours_of_a_collapsed_network(spread):
    rows = np.ones((1500, 64)) + spread * np.random.default_rng(0).standard_normal((1500, 64))
    features = unit(rows)
    rows = range(0, 1500, 100)
    np.testing.assert_array_equal(nearest_neighbours(features, 10)[rows], naive(features, 10, rows))


@pytest.mark.parametrize("method", ["exact", "approximate"])
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_nearest_neighbours_do_not_depend_on_threads(threads, method):
    features = random_unit(5000, 8)
    found = nearest_neighbours(features, 20, threads=threads, method=method)
    np.testing.assert_array_equal(found, nearest_neighbours(features, 20, method=method))


def test_nearest_neighbours_of_fewer_images_than_k():
    features = random_unit(7, 4)
    np.testing.assert_array_equal(nearest_neighbours(features, 30), naive(features, 7))
    assert nearest_neighbours(features[:1], 30).tolist() == [[0]]
    assert nearest_neighbours(features[:0], 30).shape == (0, 0)


def test_nearest_neighbours_read_only():
    features = random_unit(50, 4)
    before = features.copy()
    features.flags.writeable = False
    found = nearest_neighbours(features, 5)
    np.testing.assert_array_equal(features, before)
    np.testing.assert_array_equal(found, nearest_neighbours(torch.from_numpy(before), 5))
    np.testing.assert_array_equal(found, nearest_neighbours(np.asfortranarray(before), 5))


def test_candidates_floors_keep_their_promise():
    features = random_unit(600, 8)
    products = features @ features.T
    for found in (candidates.by_tiles(features, 10), candidates.on_device(torch.from_numpy(features), 10)):
        for i in range(600):
            inside = found.columns[i, : found.counts[i]]
            assert len(set(inside.tolist())) == len(inside) >= 10
            assert np.delete(products[i], inside).max() <= found.floors[i] + 1e-6


def test_nearest_neighbours_notice_coarse_products():
    features = random_unit(100, 8)
    found = candidates.by_tiles(features, 20)
    found.values[3] += np.float32(1e-3)
    with pytest.raises(AssertionError, match="coarser than float32"):
        neighbours._ranked(features, found, 10, None)


def test_device_search_restores_the_precision_of_products():
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        candidates.on_device(torch.from_numpy(random_unit(10, 4)), 3)
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@pytest.fixture
def small_cells(monkeypatch: pytest.MonkeyPatch):
    """Many cells of few images, in place of all pairs, which so few images would be searched by."""
    for name, value in {"CELL": 20, "BLOCK": 32, "WORTHWHILE": 9.0, "SAMPLE": 300}.items():
        monkeypatch.setattr(inverted_file, name, value)


def groups_of_similar(num_images=4000, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.standard_normal((num_images // 20, 32)), 20, axis=0)
    return unit(centres + 0.3 * rng.standard_normal((num_images, 32)))


def test_approximate_search_finds_most_neighbours_of_clustered_images(small_cells):
    features = groups_of_similar()
    found = nearest_neighbours(features, 15, method="approximate")
    assert found.shape == (4000, 15)
    np.testing.assert_array_equal(found[:, 0], np.arange(4000))
    assert all(len(set(row)) == 15 for row in found.tolist())
    assert 0.97 < recall(features, found) < 1


def test_approximate_search_leaves_out_the_own_group(small_cells):
    features = groups_of_similar()
    cameras = np.random.default_rng(1).integers(0, 3, 4000)
    found = nearest_neighbours(features, 15, method="approximate", groups=cameras)
    others = cameras[found[:, 1:]]
    assert not ((others == cameras[:, None]) & (found[:, 1:] >= 0)).any()
    assert recall(features, found, groups=cameras) > 0.95


@pytest.mark.parametrize("rows", ["distinct", "equal"])
def test_approximate_search_by_cells_does_not_depend_on_threads(small_cells, rows):
    features = groups_of_similar(1200)
    if rows == "equal":  # ties decide which candidates stay
        features = unit(np.round(features[:, :4] * 2) + np.float32([0, 0, 0, 0.25]))
    found = [inverted_file.by_cells(features, 12, wanted=8, threads=threads) for threads in (1, 2, 7)]
    for other in found[1:]:
        for part, others in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(part, others)


def test_approximate_search_that_probes_every_cell_is_exact(small_cells, monkeypatch):
    monkeypatch.setattr(inverted_file, "MET", 1.0)
    features = random_unit(600, 8)
    np.testing.assert_array_equal(nearest_neighbours(features, 12, method="approximate"), naive(features, 12))


def test_by_cells_ranks_exactly_what_it_met(small_cells):
    features = groups_of_similar(1200)
    found = inverted_file.by_cells(features, 20, wanted=15)
    for i in range(1200):
        values, columns = found.values[i, : found.counts[i]], found.columns[i, : found.counts[i]]
        np.testing.assert_allclose(values, features[columns] @ features[i], atol=1e-5)
        assert (np.diff(values) <= 0).all()
        assert columns[0] == i
        assert len(set(columns.tolist())) == len(columns)


def test_round_of_descent_follows_the_cells_where_there_are_no_groups(small_cells, monkeypatch):
    rounds = []

    def descend(_, values, columns, **options):
        rounds.append(options)
        return values, columns

    monkeypatch.setattr(inverted_file, "descend", descend)
    features = groups_of_similar(1200)
    inverted_file.by_cells(features, 20, wanted=15)
    assert len(rounds) == 1
    inverted_file.by_cells(features, 20, wanted=15, groups=np.arange(1200) % 3)
    assert len(rounds) == 1


def test_descend_equals_a_loop(monkeypatch):
    for name, value in {"JOINED": 5, "OFFERED": 4, "REVERSE": 3}.items():
        monkeypatch.setattr(nn_descent, name, value)
    features = random_unit(120, 6)
    products = features @ features.T
    others = [np.random.default_rng(i).permutation(np.delete(np.arange(120), i))[:7] for i in range(120)]
    columns = np.array([[i, *row] for i, row in enumerate(others)])
    columns = np.take_along_axis(columns, np.argsort(-np.take_along_axis(products, columns, 1), axis=1), 1)
    values = np.take_along_axis(products, columns, 1)
    behind = [[i for p in range(5) for i in range(120) if i != j and columns[i, p] == j][:3] for j in range(120)]
    _, found = nn_descent.descend(features, values, columns.astype(np.int32))
    for i in range(120):
        paths = {*columns[i, :5].tolist(), *behind[i]} - {i}
        met = {i, *columns[i].tolist(), *paths}
        for a in paths:
            met |= {*columns[a, :4].tolist(), *behind[a]}
        assert found[i].tolist() == sorted(met, key=lambda j: -products[i, j])[:8]


def test_approximate_search_of_few_images_is_exact():
    for num_images in (1, 5, 40, 100):
        features = random_unit(num_images, 4)
        np.testing.assert_array_equal(nearest_neighbours(features, 90, method="approximate"), naive(features, 90))


@pytest.mark.parametrize("spread", [0, 1e-7])
def test_approximate_search_of_a_collapsed_network(small_cells, spread):
    rows = np.ones((400, 16)) + spread * np.random.default_rng(0).standard_normal((400, 16))
    found = nearest_neighbours(unit(rows), 10, method="approximate")
    np.testing.assert_array_equal(found[:, 0], np.arange(400))
    assert all(len(set(row)) == 10 for row in found.tolist())


def test_recall_counts_neighbours_without_the_image_itself():
    features = random_unit(40, 4)
    found = nearest_neighbours(features, 5)
    assert recall(features, found) == 1
    assert recall(features, found[:, [0, 4, 3, 2, 1]]) == 1
    worse = found.copy()
    worse[:10, 1] = worse[:10, 0]
    assert recall(features, worse) == pytest.approx(1 - 10 / (40 * 4))
    assert recall(features, worse, sample=7, seed=1) == recall(features, worse, sample=7, seed=1)
    assert recall(features, found[:, :1]) == 1


def spoilt(row, value):
    features = random_unit(20, 4)
    features[row, 2] = value
    return features


@pytest.mark.parametrize(
    ("features", "change", "message"),
    [
        (spoilt(17, np.nan), {}, "features of image 17 are not finite: the training has diverged"),
        (spoilt(3, np.inf), {}, "features of image 3 are not finite"),
        (spoilt(5, 7), {}, r"features of image 5 have length 7\.\d+: normalise them to 1 first"),
        (np.zeros((3, 4), np.float32), {}, "features of image 0 have length 0: normalise them"),
        (
            np.ones(4, np.float32),
            {},
            r"features must be a float32 matrix \(images, width\), got float32 of shape \(4,\)",
        ),
        (np.eye(4), {}, r"features must be a float32 matrix \(images, width\), got float64 of shape \(4, 4\)"),
        (torch.eye(4).half(), {}, r"got float16 of shape \(4, 4\)"),
        ([[1.0]], {}, "features must be a float32 matrix .* got list"),
        (np.eye(4, dtype=np.float32), {"k": 0}, "k must be at least 1, got 0"),
        (np.eye(4, dtype=np.float32), {"method": "hnsw"}, "neighbours must be one of exact, approximate, got 'hnsw'"),
    ],
)
def test_nearest_neighbours_errors(features, change, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(features, **({"k": 3} | change))


@pytest.mark.parametrize("shape", [(19, 3), (20, 21), (20,)])
def test_recall_errors(shape):
    with pytest.raises(ValueError, match=r"neighbours must be \(20, k\) with k up to 20, got shape"):
        recall(random_unit(20, 4), np.zeros(shape, np.int64))


def test_methods_are_the_words_of_the_setting() -> None:
    assert set(neighbours.METHODS) == set(get_args(Clustering.model_fields["neighbours"].annotation))
