"""What all figures share."""

import pandas as pd
import pytest

from pipeline.report.figures.drawing import canvas, draw_lines, from_zero


@pytest.mark.parametrize("values", [[840.0, 880.0], [0.0, 0.0]])
def test_panels_from_zero_show_their_highest_value(values):
    with canvas() as (_, axes):
        draw_lines(axes[0], {"outliers": pd.Series(values)})
        from_zero(axes[0])
        low, high = axes[0].get_ylim()
    assert low == 0 and high > 1.05 * max(values)
