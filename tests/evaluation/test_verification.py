"""Same or different, and "not in the gallery", against a plain computation over all pairs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.cosines import BINS, bin_edge, count_cosines, lowest_cosine, share_above
from pipeline.evaluation.results import _worth
from pipeline.evaluation.verification import Verification, verify
from pipeline.model.thresholds import Thresholds
from pipeline.report.figures.verification_curve import verification_figure
from tests.report.minimal import minimal_report


def drawn(seed: int, *, queries: int = 40, gallery: int = 90, width: int = 6, people: int = 7):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people + 1, width))
    sides = []
    for number in (queries, gallery):
        ids = rng.integers(0, people + 1, number)
        features = centres[ids] + 0.6 * rng.standard_normal((number, width))
        sides += [features.astype(np.float32), ids, rng.integers(1, 4, number)]
    return sides


def plain(query, ids, own, gallery, there, there_own):
    """Cosines (Q, M), and the class of each pair: 0 one identity, 1 two, -1 taken out."""
    a, b = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query.astype(float), gallery.astype(float)))
    classes = np.ones((len(a), len(b)), int)
    for q in range(len(a)):
        for g in range(len(b)):
            if ids[q] == there[g]:
                classes[q, g] = -1 if own[q] == there_own[g] else int(ids[q] == 0)
    return a @ b.T, classes


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_verify_equals_the_plain_computation(seed: int) -> None:
    sides = drawn(seed)
    cosines, classes = plain(*sides)
    found = verify(*sides)
    width = 3 / BINS
    for rate in (0.3, 0.05, 0.01):
        wrong = np.sort(cosines[classes == 1])[::-1]
        allowed = int(rate * len(wrong))
        threshold = wrong[allowed]  # the first that may not be above
        right = cosines[classes == 0]
        low, high = (right > threshold + width).mean(), (right > threshold - width).mean()
        assert low <= found.true_positive_rate(rate) <= high
        tpr, fpr = found.rates(float(threshold) + width)
        assert fpr <= rate + 1e-9 and low - 0.02 <= tpr <= high + 0.02
    for rate in (0.3, 0.1):
        best = [np.where(classes == which, cosines, -np.inf).max(axis=1) for which in (0, 1)]
        threshold = np.sort(best[1])[::-1][int(rate * len(best[1]))]
        known = np.isfinite(best[0])
        expected = ((best[0] > best[1]) & (best[0] > threshold))[known].mean()
        assert found.identification_rate(rate) == pytest.approx(expected, abs=1.5 / known.sum())


def test_verify_of_pairs_that_are_told_apart() -> None:
    features = np.eye(3, dtype=np.float32)
    found = verify(features, [1, 2, 3], [1, 1, 1], features, [1, 2, 4], [2, 2, 2])
    assert found.same.sum() == 2 and found.different.sum() == 7
    assert set(found.metrics()) == {
        "tpr_at_fpr_0.01",
        "tpr_at_fpr_0.001",
        "tpr_at_fpr_0.0001",
        "dir_at_far_0.1",
        "dir_at_far_0.01",
    }
    # Person 3 and person 4 look the same.
    assert found.true_positive_rate(1 / 7) == 1.0 and found.rates(0.5) == (1.0, 1 / 7)
    assert found.true_positive_rate(1e-4) == 0.0
    assert found.identification_rate(0.4) == 1.0  # one of three strangers may be taken for somebody
    curve = found.roc()
    assert curve["fpr"].is_monotonic_increasing and curve["tpr"].is_monotonic_increasing
    assert curve["threshold"].is_monotonic_decreasing and curve["fpr"].iloc[-1] == 1 == curve["tpr"].iloc[-1]


def test_distractors_match_nobody_and_images_of_the_own_camera_are_taken_out() -> None:
    features = np.ones((2, 3), np.float32)
    found = verify(features, [0, 1], [1, 1], features, [0, 1], [2, 1])
    assert found.same.sum() == 0 and found.different.sum() == 3
    assert np.isnan(found.true_positive_rate(0.1)) and np.isnan(found.identification_rate(0.1))


def test_counts_hold_every_pair_once_whatever_rounding_does() -> None:
    cosines = np.array([[1.0000002, 1, -1, -1.0000002, 0]], np.float32)
    counts = np.zeros((1, BINS), np.int64)
    count_cosines(cosines, np.array([[0, 0, 0, 0, -1]], np.int8), counts)
    assert counts.sum() == 4 and counts[0, -1] == 2 and counts[0, 0] == 2
    assert share_above(counts[0], bin_edge(BINS - 1)) == 0.5
    assert lowest_cosine(counts[0], 0.5) == bin_edge(1) and lowest_cosine(counts[0], 0.1) == 1.0
    assert np.isnan(share_above(np.zeros(BINS, np.int64), 0.5))


def test_roc_of_nothing_is_no_error() -> None:
    none = np.zeros(BINS, np.int64)
    assert np.isnan(Verification(none, none, np.zeros(0, np.float32), np.zeros(0, np.float32)).true_positive_rate(0.1))


def test_test_set_of_one_identity_has_no_false_rate() -> None:
    """As a table of one's own images may be."""
    features = np.ones((2, 3), np.float32)
    pairs = verify(features, [1, 1], [1, 1], features, [1, 1], [2, 2])
    thresholds = Thresholds(same=0.5, unsure=0.4, same_rate=1e-3, unsure_rate=1e-2, same_recall=0.3)
    numbers = _worth(pairs, thresholds)
    assert numbers["true_tpr"] == 1.0 and "true_fpr" not in numbers
    assert np.isfinite(list(numbers.values())).all()
    tables = {"roc": pairs.roc(), "verification": pd.DataFrame([numbers])}
    assert verification_figure(minimal_report(tables=tables)) is None
