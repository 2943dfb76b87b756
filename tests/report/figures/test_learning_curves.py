"""Figures: real pictures, an alternative text that holds the numbers, and no trace of the surroundings."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.report import RankedImage, RankedList
from pipeline.report.figures.curves import cmc_curve, learning_curves
from pipeline.report.figures.drawing import canvas, draw_lines, from_zero
from pipeline.report.figures.sheet import ranked_sheet


def history(epochs):
    ramp = np.arange(1, epochs + 1)
    evaluated = np.where(ramp % 2 == 0, 0.5 - 0.3 / ramp, np.nan)
    return pd.DataFrame(
        {
            "epoch": ramp,
            "eps": 0.6 * 0.99**ramp,
            "learning_rate": 3.5e-4,
            "num_clusters": 100 + ramp,
            "num_outliers": 50,
            "loss": 2.0 / ramp,
            "loss_hard": 1.5 / ramp,
            "loss_soft": 2.0 / ramp,
            "student_map": evaluated,
            "teacher_map": evaluated,
        }
    )


def opened(picture):
    image = Image.open(io.BytesIO(picture.png))
    assert image.format == "PNG"
    assert not image.info.keys() & {"Software", "Creation Time", "date"}
    colours = image.convert("RGB").getcolors(1 << 24)
    assert len(colours) > 10, "blank"
    return np.asarray(image.convert("RGB"))


def ranked(verdicts, shape=(64, 32, 3)):
    fill = np.full(shape, 200, np.uint8)
    entries = tuple(RankedImage(fill, verdict, 3, 1, 0.5) for verdict in verdicts)
    return RankedList(fill, entries, 3, 2, 0.5, "best")


def test_learning_curves_say_where_they_start_and_end():
    curves = {picture.name: picture for picture in learning_curves(history(4), baselines={"Untrained": 0.148})}
    assert list(curves) == ["map", "loss", "clusters", "learning_rate"]
    assert curves["map"].alt == (
        "mAP over the epochs, in percent: student 35.0 in epoch 2, 42.5 in epoch 4;"
        " teacher 35.0 in epoch 2, 42.5 in epoch 4; Untrained 14.8."
    )
    assert "hard labels 1.50 in epoch 1, 0.38 in epoch 4; soft labels (the total) 2.00" in curves["loss"].alt
    assert "clusters 101 in epoch 1, 104 in epoch 4; outliers 50" in curves["clusters"].alt
    assert "eps 0.594 in epoch 1, 0.576 in epoch 4" in curves["clusters"].alt
    assert "learning rate 3.500 in epoch 1, 3.500 in epoch 4 (in units of 10⁻⁴)" in curves["learning_rate"].alt
    for picture in curves.values():
        assert opened(picture).shape == (883 if picture.name == "clusters" else 633, 998, 3)
        assert picture.size == opened(picture).shape[1::-1]


def test_learning_curves_leave_out_what_was_not_measured():
    bare = history(4).assign(student_map=np.nan, teacher_map=np.nan).drop(columns=["eps", "learning_rate", "loss"])
    assert [picture.name for picture in learning_curves(bare)] == ["loss", "clusters"]
    assert learning_curves(history(0)) == []
    assert learning_curves(pd.DataFrame({"epoch": [1, 2]})) == []


def test_learning_curves_of_one_epoch_are_visible_points():
    one = history(2).iloc[1:]
    curves = learning_curves(one, num_identities=90)
    assert [picture.name for picture in curves] == ["map", "loss", "clusters", "learning_rate"]
    assert "student 35.0 in epoch 2; teacher" in curves[0].alt
    assert curves[2].alt.endswith("outliers 50 in epoch 2; the training set shows 90 identities.")
    orange = np.abs(opened(curves[2]).astype(int) - (0xD5, 0x5E, 0x00)).sum(axis=2) < 30
    assert orange.sum() > 50, "the marker of the only point, in the panel without a legend"


def test_learning_curves_of_a_training_without_a_teacher_do_not_speak_of_one():
    alone = history(4).assign(teacher_map=np.nan, loss_soft=np.nan, loss_hard=2.0, loss=2.0)
    curves = {picture.name: picture for picture in learning_curves(alone)}
    assert "teacher" not in curves["map"].alt + curves["map"].caption
    assert curves["loss"].alt == "Loss over the epochs: hard labels (the total) 2.00 in epoch 1, 2.00 in epoch 4."


def test_learning_curves_leave_the_history_alone():
    shuffled = history(3).iloc[::-1]
    before = shuffled.copy(deep=True)
    learning_curves(shuffled)
    pd.testing.assert_frame_equal(shuffled, before)


def test_figures_do_not_depend_on_the_users_style():
    plain = cmc_curve({"Student": np.linspace(0.3, 0.9, 50)})
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        styled = cmc_curve({"Student": np.linspace(0.3, 0.9, 50)})
        assert matplotlib.rcParams["font.size"] == 30, "global state stays as it was"
    assert plain.png == styled.png


def test_cmc_curve_names_rank_1():
    picture = cmc_curve({"Student": np.linspace(0.3, 0.9, 50), "Untrained": pd.Series([0.1, 0.2])})
    assert picture.alt == "CMC curve up to rank 50. At rank 1: Student 30.0%; Untrained 10.0%."
    assert opened(picture).shape == (633, 998, 3)
    assert cmc_curve({}) is None
    opened(cmc_curve({"one rank": [1.0]}))


@pytest.mark.parametrize("name", ["_hidden", "$\\frac{1}{$", "%s {x} & <b>", "x" * 300])
def test_figures_take_any_name(name):
    opened(cmc_curve({name: np.linspace(0.3, 0.9, 50)}))


def test_ranked_sheet_marks_right_wrong_and_distractors():
    picture = ranked_sheet([ranked(["right", "wrong", "distractor"]), ranked(["wrong"])])
    pixels = opened(picture).astype(int)
    for colour in ((0x1A, 0x7F, 0x37), (0xC6, 0x28, 0x28), (0x6B, 0x72, 0x80)):
        assert (np.abs(pixels - colour).sum(axis=2) < 40).sum() > 100, colour
    assert picture.alt == "2 queries with their first 3 gallery images; 1 of 4 places are right."
    assert ranked_sheet([]) is None


def test_ranked_sheet_takes_wide_pictures_and_an_empty_list():
    tall = opened(ranked_sheet([ranked(["right"])]))
    wide = opened(ranked_sheet([ranked(["right"], shape=(32, 64, 3))]))
    assert wide.shape[0] < tall.shape[0]
    opened(ranked_sheet([ranked([])]))


def test_ranked_sheet_is_light_for_photographs():
    noise = np.random.default_rng(0).integers(0, 256, (256, 128, 3), dtype=np.uint8)
    entries = tuple(RankedImage(noise, "right") for _ in range(10))
    assert len(ranked_sheet([RankedList(noise, entries)] * 2).png) < 450_000


@pytest.mark.parametrize("values", [[840.0, 880.0], [0.0, 0.0]])
def test_panels_from_zero_show_their_highest_value(values):
    with canvas() as (_, axes):
        draw_lines(axes[0], {"outliers": pd.Series(values)})
        from_zero(axes[0])
        low, high = axes[0].get_ylim()
    assert low == 0 and high > 1.05 * max(values)
