"""The embedding on a plane."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pipeline.evaluation.diagnostics.embedding_map import choose_images, embedding_map


def grouped(num_groups: int, size: int, *, spread: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(num_groups), size)
    centres = rng.normal(size=(num_groups, 16))
    features = centres[groups] + rng.normal(0, spread, (len(groups), 16))
    return features.astype(np.float32), groups


def test_embedding_map_keeps_neighbourhoods() -> None:
    features, groups = grouped(6, 15)
    places = embedding_map(features)
    assert places.shape == (90, 2)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    assert (groups[nearest] == groups[:, None]).mean() > 0.95


def test_embedding_map_fills_a_square() -> None:
    places = embedding_map(grouped(4, 10)[0])
    assert np.abs(places).max() == pytest.approx(1)
    np.testing.assert_allclose(places.max(axis=0) + places.min(axis=0), 0, atol=1e-12)


def test_embedding_map_is_the_same_every_time_and_for_any_number_of_threads() -> None:
    features, _ = grouped(5, 12)
    before = features.copy()
    with threadpool_limits(2):
        first = embedding_map(features)
    with threadpool_limits(1):
        np.testing.assert_array_equal(embedding_map(features), first)
    np.testing.assert_array_equal(features, before)


def test_embedding_map_looks_at_angles_alone() -> None:
    features, _ = grouped(3, 8)
    lengths = 2.0 ** np.random.default_rng(1).integers(-2, 3, (24, 1))  # a power of two changes no digit
    np.testing.assert_allclose(embedding_map(features * lengths), embedding_map(features), atol=1e-6)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5])
def test_embedding_map_takes_few_images(num: int) -> None:
    places = embedding_map(np.random.default_rng(0).normal(size=(num, 6)).astype(np.float32))
    assert places.shape == (num, 2) and np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == num


def test_embedding_map_takes_images_without_a_difference_and_a_single_number() -> None:
    np.testing.assert_array_equal(embedding_map(np.ones((9, 4), np.float32)), np.zeros((9, 2)))
    assert np.isfinite(embedding_map(np.array([[1.0]] * 5 + [[-1.0]] * 5, np.float32))).all()


def test_choose_images_takes_all_where_they_are_few() -> None:
    np.testing.assert_array_equal(choose_images(np.ones(4, int), alone=np.zeros(4, bool), most=4), np.arange(4))


def test_choose_images_keeps_groups_whole() -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 10))
    chosen = choose_images(groups, alone=np.zeros(200, bool), most=55, seed=3)
    assert len(chosen) == len(set(chosen)) == 55 and (np.diff(chosen) > 0).all()
    assert sorted(np.unique(groups[chosen], return_counts=True)[1]) == [5, 10, 10, 10, 10, 10]
    np.testing.assert_array_equal(chosen, choose_images(groups, alone=np.zeros(200, bool), most=55, seed=3))
    assert not np.array_equal(chosen, choose_images(groups, alone=np.zeros(200, bool), most=55, seed=4))


def test_choose_images_does_not_take_those_of_nobody_for_a_group() -> None:
    groups = np.concatenate([np.zeros(500, int), np.repeat(np.arange(1, 51), 10)])
    counts = [(groups[choose_images(groups, alone=groups == 0, most=200, seed=seed)] == 0).sum() for seed in range(20)]
    assert min(counts) > 50 and max(counts) < 200, "drawn among the groups, by their number"
