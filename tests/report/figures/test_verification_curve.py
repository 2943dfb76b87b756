"""The ROC curve over pairs, drawn."""

import pandas as pd

from pipeline.report.figures.verification_curve import verification_figure
from tests.report.minimal import minimal_report

CURVE = pd.DataFrame({"threshold": [0.9, 0.5, 0.1, -1], "fpr": [0.0, 0.001, 0.1, 1], "tpr": [0.1, 0.5, 0.9, 1]})
NUMBERS = {"tpr_at_fpr_0.01": 0.6, "tpr_at_fpr_0.001": 0.5, "dir_at_far_0.1": 0.25}
OWN = {"threshold": 0.512, "stated_fpr": 0.001, "true_fpr": 0.0015, "true_tpr": 0.52}


def drawn(curve: pd.DataFrame, numbers: dict[str, float]):
    return verification_figure(minimal_report(tables={"roc": curve, "verification": pd.DataFrame([numbers])}))


def test_verification_figure_tells_the_rates_and_the_models_own_threshold() -> None:
    picture = drawn(CURVE, NUMBERS | OWN)
    assert picture is not None and picture.table is not None
    assert "60.0% of the right pairs at a false positive rate of 0.01; 50.0%" in picture.alt
    assert picture.caption.endswith(
        "The model's own threshold, 0.512, was set without labels for a rate of 0.001; here it is 0.0015, with 52.0% of"
        " the right pairs."
    )
    assert list(picture.table.rows) == [
        ("pairs, at a false positive rate of 0.01", ("60.0",)),
        ("pairs, at a false positive rate of 0.001", ("50.0",)),
        ("queries, at a false alarm rate of 0.1", ("25.0",)),
    ]


def test_verification_figure_without_thresholds_or_pairs() -> None:
    picture = drawn(CURVE, NUMBERS)
    assert picture is not None and "own threshold" not in picture.alt
    assert drawn(CURVE.iloc[:0], NUMBERS) is None and drawn(CURVE.assign(tpr=float("nan")), NUMBERS) is None
    assert verification_figure(minimal_report()) is None
