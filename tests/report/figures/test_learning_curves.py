"""Figures: real pictures, an alternative text that holds the numbers, and no trace of the surroundings."""

import numpy as np
import pandas as pd

from pipeline.report import ResultRow, SplitSummary
from pipeline.report.figures import draw
from tests.report.minimal import minimal_report
from tests.report.pictures import opened


def history(epochs):
    ramp = np.arange(1, epochs + 1)
    evaluated = np.where(ramp % 2 == 0, 0.5 - 0.3 / ramp, np.nan)
    return pd.DataFrame(
        {
            "epoch": ramp,
            "eps": 0.6 * 0.99**ramp,
            "learning_rate": 3.5e-4 / ramp,
            "num_clusters": 100 + ramp,
            "num_outliers": 50,
            "loss": 2.0 / ramp,
            "loss_hard": 1.5 / ramp,
            "loss_soft": 2.0 / ramp,
            "student_mAP": evaluated,
            "teacher_mAP": evaluated,
        }
    )


def learning_curves(history, *, baselines=None, num_identities=None):
    """The figures of the section "learning" by name."""
    rows = tuple(ResultRow(name, "baseline", {"mAP": score}) for name, score in (baselines or {}).items())
    splits = () if num_identities is None else (SplitSummary("train", 100, num_identities, None),)
    data = minimal_report(history=history, results=rows, splits=splits)
    return {picture.name: picture for picture in draw(data) if picture.section == "learning"}


def test_learning_curves_say_where_they_start_and_end():
    curves = learning_curves(history(4), baselines={"Untrained": 0.148})
    assert list(curves) == ["map", "loss", "clusters", "learning_rate"]
    assert curves["map"].alt == (
        "mAP over the epochs, in percent: student 35.0 in epoch 2, 42.5 in epoch 4;"
        " teacher 35.0 in epoch 2, 42.5 in epoch 4; Untrained 14.8."
    )
    assert "hard labels 1.50 in epoch 1, 0.38 in epoch 4; soft labels (the total) 2.00" in curves["loss"].alt
    assert "clusters 101 in epoch 1, 104 in epoch 4; outliers 50" in curves["clusters"].alt
    assert "eps 0.594 in epoch 1, 0.576 in epoch 4" in curves["clusters"].alt
    assert "learning rate 3.500 in epoch 1, 0.875 in epoch 4 (in units of 10⁻⁴)" in curves["learning_rate"].alt
    for picture in curves.values():
        assert opened(picture).shape == (883 if picture.name == "clusters" else 633, 998, 3)
        assert picture.size == opened(picture).shape[1::-1]


def test_learning_rate_that_stays_the_same_is_no_picture():
    assert list(learning_curves(history(4).assign(learning_rate=1e-3))) == ["map", "loss", "clusters"]


def test_learning_curves_leave_out_what_was_not_measured():
    bare = history(4).assign(student_mAP=np.nan, teacher_mAP=np.nan).drop(columns=["eps", "learning_rate", "loss"])
    assert list(learning_curves(bare)) == ["loss", "clusters"]
    assert learning_curves(history(0)) == {}
    assert learning_curves(pd.DataFrame({"epoch": [1, 2]})) == {}


def test_learning_curves_of_one_epoch_are_visible_points():
    one = history(2).iloc[1:]
    curves = learning_curves(one, num_identities=90)
    assert list(curves) == ["map", "loss", "clusters"]
    assert "student 35.0 in epoch 2; teacher" in curves["map"].alt
    assert curves["clusters"].alt.endswith(
        "outliers, percent of the images 50.0 in epoch 2; the training set shows 90 identities."
    )
    orange = np.abs(opened(curves["clusters"]).astype(int) - (0xD5, 0x5E, 0x00)).sum(axis=2) < 30
    assert orange.sum() > 50, "the marker of the only point, in the panel without a legend"


def test_learning_curves_of_a_training_without_a_teacher_do_not_speak_of_one():
    alone = history(4).assign(teacher_mAP=np.nan, loss_soft=np.nan, loss_hard=2.0, loss=2.0)
    curves = learning_curves(alone)
    assert "teacher" not in curves["map"].alt + curves["map"].caption
    assert curves["loss"].alt == "Loss over the epochs: hard labels (the total) 2.00 in epoch 1, 2.00 in epoch 4."
