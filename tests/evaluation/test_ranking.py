"""Ranking a gallery by cosine, in chunks."""

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.evaluation import ranking, top_matches

AXES = np.eye(4, dtype=np.float32)


def exact_features(rng, num):
    """Vectors of length 1 whose products are exact in float32, with many duplicates: +-1/2 in each of 4 places."""
    return rng.choice(np.array([-0.5, 0.5], dtype=np.float32), (num, 4))


def naive_matches(query, gallery, k, labels=None):
    matches = np.full((len(query), k), -1)
    for row in range(len(query)):
        order = np.argsort(-(gallery @ query[row]), kind="stable")
        if labels is not None:
            query_ids, query_cams, gallery_ids, gallery_cams = labels
            own = (gallery_ids[order] == query_ids[row]) & (gallery_cams[order] == query_cams[row])
            order = order[~own]
        matches[row, : len(order[:k])] = order[:k]
    return matches


def test_top_matches_of_a_hand_worked_example():
    query = AXES[:1]
    gallery = np.array([[0, 1, 0, 0], [3, 4, 0, 0], [2, 0, 0, 0], [-1, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(top_matches(query, gallery, k=4), [[2, 1, 0, 3]])


def test_top_matches_without_the_images_of_the_query_camera():
    gallery = np.stack([AXES[0], AXES[0], AXES[1]])
    matches = top_matches(
        AXES[:1],
        gallery,
        k=3,
        query_ids=[4],
        query_cams=[1],
        gallery_ids=[4, 4, 4],
        gallery_cams=[1, 2, 2],
    )
    np.testing.assert_array_equal(matches, [[1, 2, -1]])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_queries=st.integers(1, 9),
    num_gallery=st.integers(1, 50),
    k=st.integers(1, 60),
    filtered=st.booleans(),
)
def test_top_matches_equals_a_stable_argsort(seed, num_queries, num_gallery, k, filtered):
    rng = np.random.default_rng(seed)
    query, gallery = exact_features(rng, num_queries), exact_features(rng, num_gallery)
    names = ("query_ids", "query_cams", "gallery_ids", "gallery_cams")
    sizes = (num_queries, num_queries, num_gallery, num_gallery)
    labels = [rng.integers(0, 3, size) for size in sizes] if filtered else None
    given_labels = dict(zip(names, labels, strict=True)) if labels else {}
    np.testing.assert_array_equal(
        top_matches(query, gallery, k=k, **given_labels), naive_matches(query, gallery, k, labels)
    )


def test_top_matches_depends_neither_on_chunks_nor_on_threads(monkeypatch):
    rng = np.random.default_rng(0)
    query, gallery = exact_features(rng, 150), exact_features(rng, 90)
    names = ("query_ids", "query_cams", "gallery_ids", "gallery_cams")
    labels = {name: rng.integers(0, 2, num) for name, num in zip(names, (150, 150, 90, 90), strict=True)}
    expected = top_matches(query, gallery, k=10, **labels)
    for chunk_bytes, threads in ((1, 1), (7 * 4 * 90, 2), (149 * 4 * 90, 3)):
        monkeypatch.setattr(ranking, "CHUNK_BYTES", chunk_bytes)
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        np.testing.assert_array_equal(top_matches(query, gallery, k=10, **labels), expected)


def test_top_matches_takes_tensors_and_other_floats_and_modifies_nothing():
    rng = np.random.default_rng(1)
    query, gallery = exact_features(rng, 5), exact_features(rng, 20)
    before = query.copy(), gallery.copy()
    expected = top_matches(query, gallery, k=4)
    tensor = torch.from_numpy(gallery.copy()).bfloat16().requires_grad_()
    np.testing.assert_array_equal(top_matches(query.astype(np.float64), tensor, k=4), expected)
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(gallery, before[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"query_features": np.zeros((0, 4), np.float32)}, "query_features must be a table .* shape \\(0, 4\\)"),
        ({"query_features": AXES[0]}, "query_features must be a table .* shape \\(4,\\)"),
        ({"gallery_features": AXES[:, :3]}, "gallery_features are 3 wide, the query features 4"),
        ({"gallery_features": AXES * [[1], [0], [1], [0]]}, "gallery_features: row 1 is zero \\(2 such rows\\)"),
        ({"query_features": AXES * [[1], [1], [np.nan], [1]]}, "query_features: row 2 is not finite"),
        ({"query_features": np.full((4, 4), np.inf)}, "query_features: row 0 is not finite \\(4 such rows\\)"),
        ({"query_cams": None}, "the camera filter needs .* all four"),
        ({"gallery_ids": [1, 2, 3]}, "gallery_ids must hold one label for each of the 4 images, got shape \\(3,\\)"),
        ({"gallery_cams": [1, 2, 3, None]}, "gallery_cams must be integers without gaps, got object"),
        ({"query_ids": [1.0, 2.0, 3.0, 4.0]}, "query_ids must be integers without gaps, got float64"),
    ],
)
def test_top_matches_refuses(changes, message):
    labels = {name: [1, 2, 3, 4] for name in ("query_ids", "query_cams", "gallery_ids", "gallery_cams")}
    arguments = {"query_features": AXES, "gallery_features": AXES, "k": 2, **labels, **changes}
    with pytest.raises(UserError, match=message):
        top_matches(**arguments)
