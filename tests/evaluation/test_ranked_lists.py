"""Which queries a report shows, and what stands in their first places."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.ranked_lists import COLUMNS, choose_queries, rank_queries


def unit(angles):
    return np.stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))], axis=1)


def toy(**changes):
    values: dict[str, Any] = {
        "query_ids": np.array([1]),
        "gallery_ids": np.array([1, 2, 0, 1]),
        "query_cams": np.array([1]),
        "gallery_cams": np.array([1, 1, 2, 2]),
        "average_precision": np.array([0.5]),
    }
    return rank_queries(unit([0]), unit([5, 10, 20, 60]), **(values | changes))


def test_rank_queries_by_hand():
    table = toy()
    assert tuple(table.columns) == COLUMNS
    assert table["gallery"].tolist() == [1, 2, 3], "the own camera's image of the same identity is taken out"
    assert table["verdict"].tolist() == ["wrong", "distractor", "right"]
    assert table["rank"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table["similarity"], np.cos(np.deg2rad([10, 20, 60])))
    assert set(table["group"]) == {"best"} and set(table["average_precision"]) == {0.5}


def test_rank_queries_without_cameras_takes_nothing_out():
    table = toy(query_cams=None, gallery_cams=None)
    assert table["gallery"].tolist() == [0, 1, 2, 3]
    assert table["verdict"].tolist() == ["right", "wrong", "distractor", "right"]


def test_rank_queries_stops_at_its_length():
    assert toy(length=2)["gallery"].tolist() == [1, 2]


def test_rank_queries_without_a_valid_query_is_empty():
    table = toy(average_precision=np.array([np.nan]))
    assert table.empty and tuple(table.columns) == COLUMNS


def test_rank_queries_wants_the_cameras_of_both_sides():
    with pytest.raises(AssertionError, match="cameras of both sides"):
        toy(query_cams=None)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rank_queries_agrees_with_a_loop(seed):
    rng = np.random.default_rng(seed)
    query, gallery = rng.normal(size=(6, 5)), rng.normal(size=(20, 5))
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    ids, cams = rng.integers(1, 4, 6), rng.integers(1, 3, 6)
    gallery_ids, gallery_cams = rng.integers(0, 4, 20), rng.integers(1, 3, 20)
    table = rank_queries(
        query,
        gallery,
        query_ids=ids,
        gallery_ids=gallery_ids,
        query_cams=cams,
        gallery_cams=gallery_cams,
        average_precision=rng.uniform(size=6),
        per_group=2,
        length=5,
    )
    assert sorted(table["query"].unique()) == list(range(6))
    q: Any
    for q, places in table.groupby("query"):
        allowed = [g for g in range(20) if not (gallery_ids[g] == ids[q] and gallery_cams[g] == cams[q])]
        best = sorted(allowed, key=lambda g: -float(query[q] @ gallery[g]))[:5]
        assert places["gallery"].tolist() == best
        right = [gallery_ids[g] == ids[q] for g in best]
        assert (places["verdict"] == "right").tolist() == right


def test_choose_queries_by_hand():
    scores = np.array([0.1, 0.9, np.nan, 0.5, 0.3, 0.7, 0.95])
    chosen = choose_queries(scores, np.arange(7), per_group=1)
    assert chosen == [("best", 6), ("median", 3), ("worst", 0)]


def test_choose_queries_prefers_different_identities():
    scores = np.array([1.0, 1.0, 0.9, 0.5, 0.5, 0.4, 0.2, 0.1, 0.1])
    ids = np.array([7, 7, 8, 1, 1, 2, 3, 4, 4])
    chosen = choose_queries(scores, ids, per_group=2)
    assert chosen == [("best", 0), ("best", 2), ("median", 3), ("median", 5), ("worst", 7), ("worst", 6)]


def test_choose_queries_tops_up_with_one_identity_if_there_is_no_other():
    chosen = choose_queries(np.array([0.9, 0.8, 0.5, 0.4, 0.2, 0.1]), np.ones(6), per_group=2)
    assert sorted(query for _, query in chosen) == list(range(6))


@pytest.mark.parametrize("valid", [0, 1, 2, 4])
def test_choose_queries_shows_none_twice_when_there_are_few(valid):
    scores = np.full(5, np.nan)
    scores[:valid] = np.linspace(1, 0, valid)
    chosen = [query for _, query in choose_queries(scores, np.arange(5), per_group=3)]
    assert sorted(chosen) == list(range(valid))
