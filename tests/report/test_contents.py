"""What a report is made of refuses what cannot be drawn."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report import ConfusedPair, RankedImage, RankedList, ResultRow, SplitSummary
from tests.report.minimal import minimal_report

PICTURE = np.zeros((4, 2, 3), np.uint8)


@pytest.mark.parametrize("score", [-0.1, 1.1, 52.4, float("nan"), float("inf")])
def test_result_row_refuses_what_is_no_fraction(score):
    with pytest.raises(AssertionError, match="rank5 of 'Student' must be a fraction"):
        ResultRow("Student", "result", {"rank5": score})


def test_result_row_refuses_an_unknown_kind():
    with pytest.raises(AssertionError, match="unknown kind of result 'best'"):
        ResultRow("Student", "best")


def test_ranked_image_refuses_an_unknown_verdict():
    with pytest.raises(AssertionError, match="unknown verdict 'junk'"):
        RankedImage(PICTURE, "junk")


@pytest.mark.parametrize("image", [PICTURE.astype(float), PICTURE[0], np.zeros((4, 2, 4), np.uint8)])
def test_ranked_list_refuses_what_is_no_picture(image):
    with pytest.raises(AssertionError, match="must be \\(H, W, 3\\) uint8"):
        RankedList(image, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": pd.DataFrame({"loss": [1.0]})}, "needs a column 'epoch'"),
        ({"history": pd.DataFrame({"epoch": [2, 1]})}, "ascending order"),
        ({"num_queries": 3, "num_valid_queries": 4}, "more valid queries than queries"),
        ({"cmc": {"Student": np.array([50.0, 60.0])}}, "CMC curve 'Student' must hold fractions"),
        ({"cmc": {"Student": np.array([0.5, np.nan])}}, "CMC curve 'Student' must hold fractions"),
        ({"cmc": {"Student": np.zeros((2, 2))}}, "must have shape"),
        ({"cmc": {"Student": []}}, "must have shape"),
    ],
)
def test_report_data_refuses_what_cannot_be_drawn(changes, message):
    with pytest.raises(AssertionError, match=message):
        minimal_report(**changes)


def test_report_data_finds_the_first_of_a_kind_and_a_split():
    rows = (ResultRow("x", "baseline"), ResultRow("s", "result"), ResultRow("t", "result"))
    data = minimal_report(results=rows, splits=(SplitSummary("train", 3, None, None),))
    assert data.first("result") is rows[1]
    assert data.first("published") is None
    assert data.split("train").images == 3
    assert data.split("query") is None


def test_confused_pair_is_of_two_identities() -> None:
    image = np.zeros((4, 2, 3), np.uint8)
    with pytest.raises(AssertionError):
        ConfusedPair(3, 3, 1, ((image, image, 0.5),))
