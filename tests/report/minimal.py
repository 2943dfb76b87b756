"""The smallest data of a report, to which a test adds what it is about."""

from typing import Any

import pandas as pd

from pipeline.evaluation.metrics import METRICS
from pipeline.report import ReportData


def minimal_report(**changes: Any) -> ReportData:
    """A report of one epoch that holds nothing else."""
    values: dict[str, Any] = {
        "title": "t",
        "dataset": "d",
        "backbone": "b",
        "method": "m",
        "settings": {},
        "splits": (),
        "history": pd.DataFrame({"epoch": [1]}),
    }
    return ReportData(**(values | changes))


def scores(*values: float) -> dict[str, float]:
    """The first metrics of the table with these values: mAP, rank-1, ..."""
    return dict(zip(METRICS, values, strict=False))
