"""The CMC curve: a real picture, whatever the names and the style of the user."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from pipeline.report.figures.cmc_curve import cmc_figure
from pipeline.report.figures.drawing import Table
from tests.report.minimal import minimal_report
from tests.report.pictures import opened


def cmc(curves):
    return cmc_figure(minimal_report(cmc=curves))


def test_figures_do_not_depend_on_the_users_style():
    plain = cmc({"Student": np.linspace(0.3, 0.9, 50)})
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        styled = cmc({"Student": np.linspace(0.3, 0.9, 50)})
        assert matplotlib.rcParams["font.size"] == 30, "global state stays as it was"
    assert plain.png == styled.png


def test_cmc_curve_names_rank_1():
    picture = cmc({"Student": np.linspace(0.3, 0.9, 50), "Untrained": pd.Series([0.1, 0.2])})
    assert picture.alt == "CMC curve up to rank 50. At rank 1: Student 30.0%; Untrained 10.0%."
    assert opened(picture).shape == (633, 998, 3)
    assert cmc({}) is None
    opened(cmc({"one rank": [1.0]}))


@pytest.mark.parametrize("name", ["_hidden", "$\\frac{1}{$", "%s {x} & <b>", "x" * 300])
def test_figures_take_any_name(name):
    opened(cmc({name: np.linspace(0.3, 0.9, 50)}))


def test_cmc_curve_has_its_numbers_as_a_table():
    assert cmc({"Student": np.linspace(0.3, 0.9, 50), "Untrained": [0.1, 0.2]}).table == Table(
        "Queries with a correct match among the first r, percent",
        ("r", "1", "2", "5", "10", "20", "50"),
        (
            ("Student", ("30.0", "31.2", "34.9", "41.0", "53.3", "90.0")),
            ("Untrained", ("10.0", "20.0", "–", "–", "–", "–")),
        ),
    )
