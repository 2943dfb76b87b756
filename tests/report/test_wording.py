"""Numbers as the field writes them, and sentences that hold in every case."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.report import (
    ClusterCount,
    ClusterSample,
    RankedImage,
    RankedList,
    ReportData,
    ResultRow,
    SplitSummary,
    wording,
)
from pipeline.report.wording import count, flattened, history_cell, percent, points, shortened
from tests.report.minimal import scores

HISTORY = pd.DataFrame({"epoch": [1, 2], "num_clusters": [120, 98], "num_outliers": [300, 110]})


def report(**changes):
    values: dict[str, Any] = {
        "title": "t",
        "dataset": "synthetic",
        "backbone": "ResNet-18",
        "method": "DCCC",
        "settings": {},
        "splits": (SplitSummary("train", 1600, 100, 6),),
        "history": HISTORY,
        "cluster_count": ClusterCount(95, 120),
        "results": (
            ResultRow("Student", "result", scores(0.5237, 0.681)),
            ResultRow("Untrained network", "baseline", scores(0.1482)),
            ResultRow("Colour histogram", "baseline", scores(0.0925)),
        ),
    }
    return ReportData(**(values | changes))


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.5237, "52.4"),
        (0.866, "86.6"),
        (1.0, "100.0"),
        (0.0, "0.0"),
        (0.0996, "10.0"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_percent_has_one_decimal(fraction, text):
    assert percent(fraction) == text


def test_percent_with_its_unit():
    assert percent(0.5, unit=True) == "50.0%"
    assert percent(None, unit=True) == "–"


def test_points_have_a_sign():
    assert (points(0.3755), points(-0.021)) == ("+37.5", "−2.1")


def test_count_knows_the_plural():
    assert [count(1, "query"), count(400, "query"), count(1200, "image")] == ["1 query", "400 queries", "1,200 images"]


def test_shortened_keeps_both_ends():
    assert shortened("a" * 34) == "a" * 34
    short = shortened("start" + "x" * 100 + "end")
    assert len(short) == 34
    assert short.startswith("start") and short.endswith("end")


def test_flattened_writes_values_as_yaml():
    settings: dict[str, Any] = {"a": True, "b": {"c": None, "d": {"e": [1, False]}}, "f": {}, "g": 3.5e-4}
    assert list(flattened(settings)) == [
        ("a", "true"),
        ("b.c", "null"),
        ("b.d.e", "[1, false]"),
        ("f", "{}"),
        ("g", "0.00035"),
    ]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("student_mAP", 0.5237, "52.4"),
        ("num_clusters", 1234.0, "1,234"),
        ("learning_rate", 3.5e-4, "3.50e-04"),
        ("images_per_second", 1310.4, "1,310"),
        ("seconds", 8.24, "8.2"),
        ("eps", 0.6930001, "0.693"),
        ("loss", float("nan"), "–"),
    ],
)
def test_history_cell_suits_its_column(column, value, text):
    assert history_cell(column, value) == text


def test_summary_of_a_usual_run():
    assert wording.summary(report()) == (
        "ResNet-18 was trained by DCCC for 2 epochs on 1,600 images of the data set synthetic, without identity labels."
        " The student after epoch 2 groups them into 95 clusters and leaves 120 images (7.5%) in none; in truth they"
        " show 100 identities, which the training never sees. The student after epoch 2 reaches an mAP of 52.4% and"
        " ranks a correct match first for 68.1% of the queries. Its mAP is 37.6 points above the 14.8% of the untrained"
        " network, 3.5 times as high. Also for comparison: colour histogram 9.2%."
    )


def test_summary_owns_up_to_a_loss():
    rows = (ResultRow("Student", "result", scores(0.1)), ResultRow("Untrained network", "baseline", scores(0.15)))
    text = wording.summary(report(results=rows))
    assert "Its mAP is 5.0 points below the 15.0% of the untrained network." in text
    assert "times" not in text


def test_summary_without_evaluation_epochs_or_names():
    assert wording.summary(report(results=())).endswith("The network was not evaluated.")
    assert "was not trained" in wording.summary(report(history=HISTORY.iloc[:0]))
    bare = wording.summary(report(splits=(), history=pd.DataFrame({"epoch": [1]}), cluster_count=None))
    assert "for 1 epoch on the training images of" in bare
    assert "clusters" not in bare


def test_protocol_names_cameras_and_counts_what_is_left_out():
    assert wording.protocol(report()) == ""
    assert wording.protocol(report(num_queries=400, num_valid_queries=400)).endswith(
        "400 queries: each has a valid match."
    )
    one = wording.protocol(report(num_queries=400, num_valid_queries=399))
    assert "query's own camera are removed" in one
    assert one.endswith("1 of 400 queries has no valid match and is left out.")
    without = wording.protocol(report(num_queries=400, num_valid_queries=388, uses_cameras=False))
    assert "uses no cameras" in without
    assert without.endswith("12 of 400 queries have no valid match and are left out.")


def test_captions_say_what_is_known():
    picture = np.zeros((4, 2, 3), np.uint8)
    ranked = RankedList(picture, (), 12, 3, 0.8731)
    assert wording.query_caption(ranked) == "identity 12, camera 3, average precision 87.3%"
    assert wording.query_caption(RankedList(picture, ())) == ""
    assert wording.entry_alt(RankedImage(picture, "wrong", 7, 1, 0.514), 2) == (
        "Rank 2: wrong, identity 7, camera 1, cosine 0.51"
    )
    assert wording.entry_alt(RankedImage(picture, "distractor", 0), 1) == "Rank 1: distractor, distractor image"


def test_method_name_is_that_of_the_papers() -> None:
    assert wording.method_name({}) == wording.method_name({"method": "dccc"}) == "DCCC"
    assert wording.method_name({"method": "cluster_contrast"}) == "Cluster Contrast"
    assert wording.method_name({"method": "spcl"}) == "SpCL"


@pytest.mark.parametrize(
    ("number", "size", "caption"), [(7, 1200, "cluster 7, 1,200 images"), (None, 1, "outliers, 1 image")]
)
def test_caption_names_cluster_and_size(number, size, caption):
    assert wording.cluster_caption(ClusterSample(number, size, (np.zeros((8, 4, 3), np.uint8),))) == caption
