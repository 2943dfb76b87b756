"""A search ranks as a naive loop does, whatever the parts that the gallery comes in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.inference import ranking
from pipeline.inference.ranking import rank_gallery


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def drawn(seed, num, width=5, values=3):
    """Vectors of few different values, so that many are equal."""
    return unit(np.random.default_rng(seed).integers(1, values + 1, (num, width)))


def cut(embeddings, edges):
    order = np.random.default_rng(0).permutation(len(embeddings))
    for rows in np.split(order, edges):
        if len(rows):
            yield rows, embeddings[rows]


def naive(queries, gallery, top, left_out):
    indices, similarities = [], []
    for query, own in zip(queries, left_out, strict=True):
        scored = [
            (-np.float32(np.sum(query.astype(np.float64) * image)), index)
            for index, image in enumerate(gallery)
            if index not in own
        ]
        best = sorted(scored)[:top] + [(np.inf, -1)] * max(0, top - len(scored))
        indices.append([index for _, index in best])
        similarities.append([-value for value, _ in best])
    return np.array(indices), np.array(similarities, np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    num=st.integers(1, 90),
    top=st.integers(1, 12),
    edges=st.lists(st.integers(0, 90), max_size=4),
    own=st.lists(st.lists(st.integers(0, 89), max_size=3), min_size=3, max_size=3),
    values=st.integers(1, 3),
)
def test_ranking_is_that_of_a_naive_loop_in_any_parts(seed, num, top, edges, own, values):
    gallery, queries = drawn(seed, num, values=values), drawn(seed + 1, 3, values=values)
    found = rank_gallery(queries, cut(gallery, sorted(edges)), top=top, left_out=own)
    indices, similarities = naive(queries, gallery, top, own)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.similarities, similarities)


def test_equal_images_are_in_the_order_of_the_gallery():
    gallery = np.repeat(unit(np.random.default_rng(1).normal(size=(2, 64))), 300, axis=0)
    found = rank_gallery(gallery[[0, 599]], cut(gallery, [100, 250]), top=7, left_out=[[0, 1], []])
    np.testing.assert_array_equal(found.indices, [range(2, 9), range(300, 307)])
    assert np.ptp(found.similarities, axis=1).tolist() == [0, 0]


def test_queries_are_taken_a_few_at_a_time(monkeypatch):
    gallery, queries = drawn(1, 40, values=9), drawn(2, 11, values=9)
    parts = [(np.arange(40), gallery)]
    whole = rank_gallery(queries, parts, top=3, left_out=[[]] * 11)
    monkeypatch.setattr(ranking, "PRODUCTS", 80)
    few = rank_gallery(queries, parts, top=3, left_out=[[]] * 11)
    np.testing.assert_array_equal(few.indices, whole.indices)


def test_ranking_of_an_empty_gallery_is_empty():
    found = rank_gallery(drawn(1, 2), [], top=2, left_out=[[], []])
    assert found.indices.tolist() == [[-1, -1]] * 2 and np.isneginf(found.similarities).all()


def test_ranking_leaves_its_input_alone():
    gallery, queries = drawn(1, 20), drawn(2, 2)
    before = gallery.copy(), queries.copy()
    rank_gallery(queries, [(np.arange(20), gallery)], top=3, left_out=[[], [1]])
    np.testing.assert_array_equal(gallery, before[0])
    np.testing.assert_array_equal(queries, before[1])


def test_top_below_one_is_refused():
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        rank_gallery(drawn(1, 2), [], top=0, left_out=[[], []])


def test_embeddings_of_another_width_are_refused():
    with pytest.raises(UserError, match="embeddings are 4 wide, the queries' 5: use one model for both"):
        rank_gallery(drawn(1, 2), [(np.arange(3), drawn(1, 3, width=4))], top=1, left_out=[[], []])
