"""Average precision, first and last match from a matrix of distances."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from pipeline.evaluation.query_scores import FEW_MATCHES, score_queries


def naive_scores(distance, query_ids, query_cams, gallery_ids, gallery_cams):
    """The usual loop: a stable argsort and scikit-learn's average precision, one query after another."""
    rows = []
    for row, identity, camera in zip(distance, query_ids, query_cams, strict=True):
        order = np.argsort(row, kind="stable")
        same = gallery_ids[order] == identity
        kept = ~(same & (gallery_cams[order] == camera))
        matches = same[kept]
        if not matches.any():
            rows.append((np.nan, 0, np.nan))
            continue
        places = np.flatnonzero(matches) + 1
        precision = average_precision_score(matches, -row[order][kept])
        rows.append((precision, places[0], len(places) / places[-1]))
    return (np.array(column) for column in zip(*rows, strict=True))


def random_case(seed, num_queries, num_gallery, identities, cameras, levels):
    rng = np.random.default_rng(seed)
    # Few levels make many ties; half of them negative, as the negated cosine is.
    distance = (rng.integers(0, levels, (num_queries, num_gallery)) / levels - 0.5).astype(np.float32)
    return (
        distance,
        rng.integers(0, identities, num_queries),
        rng.integers(0, cameras, num_queries),
        rng.integers(0, identities, num_gallery),
        rng.integers(0, cameras, num_gallery),
    )


def assert_same(scores, case):
    precision, first, penalty = naive_scores(*case)
    np.testing.assert_allclose(scores.average_precision, precision, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(scores.first_rank, first)
    np.testing.assert_allclose(scores.inverse_negative_penalty, penalty, rtol=0, atol=1e-12)


def test_score_queries_matches_a_hand_worked_example():
    # Ranking without image 0 (same identity, same camera): 4 wrong, 1 right, 3 wrong, 2 right.
    distance = np.array([[0.0, 0.2, 0.9, 0.5, 0.1]], dtype=np.float32)
    labels = (np.array([7]), np.array([1]), np.array([7, 7, 7, 0, 8]), np.array([1, 2, 3, 1, 2]))
    scores = score_queries(distance, *labels)
    assert scores.average_precision[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert scores.first_rank[0] == 2
    assert scores.inverse_negative_penalty[0] == pytest.approx(2 / 4)


def test_score_queries_takes_tied_images_together_in_precision_and_by_index_in_rank():
    # All at one distance: precision 2/4 at both matches; by index the matches stand at 2 and 4.
    distance = np.zeros((1, 4), dtype=np.float32)
    labels = (np.array([1]), np.array([0]), np.array([2, 1, 2, 1]), np.array([1, 1, 1, 1]))
    scores = score_queries(distance, *labels)
    assert scores.average_precision[0] == pytest.approx(0.5)
    assert scores.first_rank[0] == 2
    assert scores.inverse_negative_penalty[0] == pytest.approx(2 / 4)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_queries=st.integers(1, 12),
    num_gallery=st.integers(1, 60),
    identities=st.integers(1, 6),
    cameras=st.integers(1, 4),
    levels=st.sampled_from([1, 2, 5, 30, 2**20]),
)
def test_score_queries_equals_the_usual_loop(seed, num_queries, num_gallery, identities, cameras, levels):
    case = random_case(seed, num_queries, num_gallery, identities, cameras, levels)
    assert_same(score_queries(*case), case)


@pytest.mark.parametrize("levels", [50, 2**20])
def test_score_queries_equals_the_usual_loop_with_very_many_matches(levels):
    case = random_case(0, 3, 3 * FEW_MATCHES, 2, 5, levels)
    assert (case[3] == case[1][0]).sum() > FEW_MATCHES * 5 / 4
    assert_same(score_queries(*case), case)


def test_score_queries_without_cameras_removes_nothing():
    distance, query_ids, query_cams, gallery_ids, gallery_cams = random_case(1, 20, 80, 4, 3, 10)
    scores = score_queries(distance, query_ids, None, gallery_ids, None)
    # Cameras that never agree filter nothing either.
    assert_same(scores, (distance, query_ids, query_cams, gallery_ids, gallery_cams + 100))


def test_score_queries_leaves_out_a_query_without_a_match():
    # The only image of identity 1 was taken by the query's camera; identity 3 is not there at all.
    distance = np.ones((3, 2), dtype=np.float32)
    scores = score_queries(distance, np.array([1, 2, 3]), np.array([5, 5, 5]), np.array([1, 2]), np.array([5, 6]))
    np.testing.assert_array_equal(np.isnan(scores.average_precision), [True, False, True])
    np.testing.assert_array_equal(np.isnan(scores.inverse_negative_penalty), [True, False, True])
    np.testing.assert_array_equal(scores.first_rank, [0, 2, 0])


def test_score_queries_does_not_depend_on_threads(monkeypatch):
    case = random_case(2, 300, 200, 20, 4, 40)
    whole = score_queries(*case)
    for threads in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        again = score_queries(*case)
        np.testing.assert_array_equal(again.average_precision, whole.average_precision)
        np.testing.assert_array_equal(again.first_rank, whole.first_rank)
        np.testing.assert_array_equal(again.inverse_negative_penalty, whole.inverse_negative_penalty)


def test_score_queries_does_not_modify_its_input():
    case = random_case(3, 10, 40, 3, 2, 5)
    before = [array.copy() for array in case]
    score_queries(*case)
    for array, old in zip(case, before, strict=True):
        np.testing.assert_array_equal(array, old)
