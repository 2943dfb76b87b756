"""mAP, CMC and mINP of features: the protocol as a whole."""

import tracemalloc
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from pipeline.common.errors import UserError
from pipeline.evaluation import evaluate, evaluate_distances, ranking

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "retrieval.npz")
GOLDEN_SETS = tuple(GOLDEN[key] for key in ("query", "query_id", "query_cam", "gallery", "gallery_id", "gallery_cam"))
NAMES = ("query_features", "query_ids", "query_cams", "gallery_features", "gallery_ids", "gallery_cams")


def toy():
    """Two valid queries and one without a match; works out by hand to the numbers of the test below."""
    query = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    gallery = np.array([[1, 0], [4, 1], [3, 2], [2, 3], [0, 5]], dtype=np.float32)
    #            same camera, right, distractor, wrong, right
    return query, [1, 2, 3], [0, 0, 0], gallery, [1, 1, 0, 2, 1], [0, 1, 1, 1, 1]


def test_evaluate_matches_a_hand_worked_example():
    # Query 1 ranks 1 (right), 2, 3, 4 (right): AP (1 + 2/4)/2, INP 2/4. Query 2 ranks 4, 3 (right): AP 1/2, INP 1/2.
    scores = evaluate(*toy(), ranks=(1, 2, 7))
    assert scores.mean_ap == pytest.approx((0.75 + 0.5) / 2)
    assert scores.cmc == {1: 0.5, 2: 1.0, 7: 1.0}
    assert scores.mean_inp == pytest.approx(0.5)
    assert (scores.num_valid_queries, scores.num_queries) == (2, 3)
    np.testing.assert_array_equal(scores.cmc_curve, [0.5] + [1.0] * 49)
    np.testing.assert_allclose(scores.average_precision, [0.75, 0.5, np.nan])
    np.testing.assert_array_equal(scores.first_rank, [1, 2, 0])


def test_evaluate_reproduces_the_golden_numbers():
    scores = evaluate(*GOLDEN_SETS)
    assert scores.mean_ap == pytest.approx(float(GOLDEN["mean_ap"]), abs=1e-6)
    np.testing.assert_allclose(scores.cmc_curve, GOLDEN["cmc"], rtol=0, atol=1e-6)
    assert scores.cmc == {rank: pytest.approx(GOLDEN["cmc"][rank - 1], abs=1e-6) for rank in (1, 5, 10)}


@pytest.mark.parametrize("order", ["C", "F"])
def test_evaluate_distances_reproduces_the_golden_numbers(order):
    labels = [GOLDEN[key] for key in ("query_id", "query_cam", "gallery_id", "gallery_cam")]
    scores = evaluate_distances(np.asarray(GOLDEN["distance"], order=order), *labels)
    assert scores.mean_ap == pytest.approx(float(GOLDEN["mean_ap"]), abs=1e-6)
    np.testing.assert_allclose(scores.cmc_curve, GOLDEN["cmc"], rtol=0, atol=1e-6)


def test_evaluate_reproduces_the_golden_numbers_after_reranking():
    scores = evaluate(*GOLDEN_SETS, rerank=True)
    assert scores.mean_ap == pytest.approx(float(GOLDEN["reranked_mean_ap"]), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_queries=st.integers(1, 15),
    num_gallery=st.integers(1, 70),
    cameras=st.sampled_from([None, 1, 3]),
    rank=st.integers(1, 80),
)
def test_evaluate_equals_the_usual_loop(seed, num_queries, num_gallery, cameras, rank):
    rng = np.random.default_rng(seed)
    # Products are exact, and 16 different features only: many duplicates and ties.
    query, gallery = (rng.choice([-0.5, 0.5], (num, 4)).astype(np.float32) for num in (num_queries, num_gallery))
    query_ids, gallery_ids = rng.integers(0, 5, num_queries), rng.integers(0, 5, num_gallery)
    query_cams, gallery_cams = (rng.integers(0, cameras or 1, num) for num in (num_queries, num_gallery))
    precisions, firsts = [], []
    for row in range(num_queries):
        distance = 2 - 2 * gallery @ query[row]
        order = np.argsort(distance, kind="stable")
        same = gallery_ids[order] == query_ids[row]
        kept = ~same | (cameras is None) | (gallery_cams[order] != query_cams[row])
        if same[kept].any():
            precisions.append(average_precision_score(same[kept], -distance[order][kept]))
            firsts.append(np.flatnonzero(same[kept])[0])
    if cameras is None:
        query_cams = gallery_cams = None
    arguments = (query, query_ids, query_cams, gallery, gallery_ids, gallery_cams)
    if not precisions:
        with pytest.raises(UserError, match="none of the"):
            evaluate(*arguments)
        return
    scores = evaluate(*arguments, ranks=[rank])
    assert scores.mean_ap == pytest.approx(np.mean(precisions), abs=1e-9)
    assert scores.cmc[rank] == pytest.approx(np.mean(np.array(firsts) < rank), abs=1e-12)
    assert scores.num_valid_queries == len(precisions)


def test_evaluate_depends_neither_on_chunks_nor_on_threads(monkeypatch):
    rng = np.random.default_rng(0)
    features = [rng.choice([-0.5, 0.5], (num, 4)).astype(np.float32) for num in (130, 70)]
    labels = [rng.integers(0, 6, num) for num in (130, 130, 70, 70)]
    arguments: tuple[Any, ...] = (features[0], *labels[:2], features[1], *labels[2:])
    expected = evaluate(*arguments)
    for chunk_bytes, threads in ((1, 1), (9 * 4 * 70, 2), (129 * 4 * 70, 3)):
        monkeypatch.setattr(ranking, "CHUNK_BYTES", chunk_bytes)
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        scores = evaluate(*arguments)
        np.testing.assert_array_equal(scores.average_precision, expected.average_precision)
        np.testing.assert_array_equal(scores.first_rank, expected.first_rank)
        assert (scores.mean_ap, scores.mean_inp, scores.cmc) == (expected.mean_ap, expected.mean_inp, expected.cmc)


def test_evaluate_does_not_depend_on_the_length_of_the_features():
    query, *query_labels = GOLDEN_SETS[:3]
    gallery, *gallery_labels = GOLDEN_SETS[3:]
    # Powers of two: the scaled features are exact.
    scale = 2.0 ** np.random.default_rng(0).integers(-3, 4, (len(gallery), 1)).astype(np.float32)
    for rerank in (False, True):
        expected = evaluate(*GOLDEN_SETS, rerank=rerank)
        scores = evaluate(query * 4, *query_labels, gallery * scale, *gallery_labels, rerank=rerank)  # type: ignore[call-arg]
        assert scores.mean_ap == pytest.approx(expected.mean_ap, abs=1e-6)


def test_evaluate_takes_tensors_and_nullable_columns_of_a_table():
    query, query_ids, query_cams, gallery, gallery_ids, gallery_cams = GOLDEN_SETS
    scores = evaluate(
        torch.from_numpy(query),
        torch.from_numpy(query_ids),
        pd.Series(query_cams, dtype="Int64"),
        torch.from_numpy(gallery).requires_grad_(),
        pd.Series(gallery_ids).astype(object),
        gallery_cams.astype(np.uint8),
    )
    assert scores.mean_ap == pytest.approx(float(GOLDEN["mean_ap"]), abs=1e-6)


@pytest.mark.parametrize("rerank", [False, True])
def test_evaluate_does_not_modify_its_input(rerank):
    arguments = [array.copy() for array in GOLDEN_SETS]
    evaluate(*arguments, rerank=rerank)
    for array, old in zip(arguments, GOLDEN_SETS, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("rerank", [False, True])
def test_evaluate_needs_little_memory_beyond_the_features(rerank, monkeypatch):
    rng = np.random.default_rng(0)
    num_queries, num_gallery = 2_000, 6_000
    query, gallery = (rng.normal(size=(num, 16)).astype(np.float32) for num in (num_queries, num_gallery))
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    labels = [rng.integers(0, 50, num) for num in (num_queries, num_queries, num_gallery, num_gallery)]
    arguments: tuple[Any, ...] = (query, *labels[:2], gallery, *labels[2:])
    evaluate(*(array[:50] for array in arguments), rerank=rerank)  # compiles
    monkeypatch.setattr(ranking, "CHUNK_BYTES", 2**20)
    tracemalloc.start()
    evaluate(*arguments, rerank=rerank)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The matrix of distances alone is 48 MB, one over all images 256 MB.
    assert peak < (24e6 if rerank else 4e6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gallery_cams": None}, "query_cams and gallery_cams: give both, or None for both"),
        ({"query_cams": None}, "query_cams and gallery_cams: give both, or None for both"),
        ({"ranks": (0, 5)}, "ranks count from 1, got \\[0, 5\\]"),
        ({"query_ids": [1, 2]}, "query_ids must hold one label for each of the 3 images, got shape \\(2,\\)"),
        ({"gallery_cams": [0, 1, 1, 1, np.nan]}, "gallery_cams must be integers without gaps, got float64"),
        ({"gallery_features": np.ones((5, 3))}, "gallery_features are 3 wide, the query features 2"),
        ({"query_features": np.zeros((3, 2))}, "query_features: row 0 is zero \\(3 such rows\\)"),
        ({"gallery_ids": [8, 8, 8, 9, 9]}, "none of the 3 queries has a match in the gallery .* without cameras"),
        ({"query_cams": [1, 1, 1], "gallery_cams": [1] * 5}, "none of the 3 queries has a match"),
    ],
)
@pytest.mark.parametrize("rerank", [False, True])
def test_evaluate_refuses(changes, message, rerank):
    arguments = dict(zip(NAMES, toy(), strict=True)) | {"rerank": rerank} | changes
    with pytest.raises(UserError, match=message) as caught:
        evaluate(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (np.zeros((1, 0), np.float32), "distance must be \\(queries, gallery\\) and not empty, got shape \\(1, 0\\)"),
        (np.array([[0, np.nan, 1]], np.float32), "distance: row 0, column 1 is NaN"),
    ],
)
def test_evaluate_distances_refuses(distance, message):
    with pytest.raises(UserError, match=message):
        evaluate_distances(distance, [1], None, [1, 1, 2], None)
