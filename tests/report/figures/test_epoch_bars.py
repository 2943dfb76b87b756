"""Where the time of an epoch goes."""

import numpy as np
import pandas as pd

from pipeline.report.figures import epoch_bars
from pipeline.report.figures.drawing import Picture
from tests.report.minimal import minimal_report

HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "seconds": [10.0, 6.0], "seconds_extract": [2.0, 2.0], "seconds_train": [8.0, 4.0]}
)


def time_figure(history: pd.DataFrame) -> Picture | None:
    return epoch_bars.time_figure(minimal_report(history=history))


def test_time_figure_says_seconds_and_shares() -> None:
    picture = time_figure(HISTORY)
    assert picture is not None
    assert picture.alt == (
        "Seconds by part of an epoch, on average: embedding the images 2.00 s, 25.0%; training steps 6.00 s, 75.0%."
    )


def test_time_figure_names_a_part_that_it_does_not_know_and_one_that_was_not_always_there() -> None:
    picture = time_figure(HISTORY.assign(seconds_new_part=[np.nan, 0.001], seconds_recall=np.nan))
    assert picture is not None
    assert "new part 0.00 s, < 0.1%" in picture.alt and "check of the neighbours" not in picture.alt


def test_time_figure_takes_many_epochs_and_none() -> None:
    epochs = np.arange(1, 101)
    assert time_figure(pd.DataFrame({"epoch": epochs, "seconds_train": epochs / 3})) is not None
    assert time_figure(pd.DataFrame({"epoch": [1], "seconds_train": [0.0]})) is not None
    assert time_figure(pd.DataFrame({"epoch": [1], "seconds": [3.0]})) is None
