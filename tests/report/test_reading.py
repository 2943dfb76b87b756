"""From the files of the stages to the data of a report."""

import pandas as pd

from pipeline.report import SplitSummary, summarise_splits
from pipeline.report.reading import _made


def test_summarise_splits_counts_by_hand():
    catalogue = pd.DataFrame(
        {
            "split": ["query", "train", "train", "train", "gallery", "gallery", "gallery"],
            "pid": pd.array([5, 1, 1, 2, 0, 0, 5], dtype="Int64"),
            "camid": pd.array([1, 1, 2, 2, 3, 3, 1], dtype="Int64"),
        }
    )
    before = catalogue.copy(deep=True)
    assert summarise_splits(catalogue) == (
        SplitSummary("train", 3, 2, 2),
        SplitSummary("query", 1, 1, 1),
        SplitSummary("gallery", 3, 1, 2, distractors=2),
    )
    pd.testing.assert_frame_equal(catalogue, before)


def test_summarise_splits_says_none_where_nothing_is_named():
    nothing = pd.array([None, None], dtype="Int64")
    catalogue = pd.DataFrame({"split": ["train", "train"], "pid": nothing, "camid": nothing})
    assert summarise_splits(catalogue) == (SplitSummary("train", 2, None, None),)


def test_made_says_what_the_training_has_recorded():
    run = {"finished": "2026-01-31 12:00 UTC", "revision": "1a2b3c4d5e", "machine": "CPU, 1 process, 2 threads"}
    assert " · ".join(_made(run, seconds=168)) == (
        "2026-01-31 12:00 UTC · trained in 2.8 minutes · revision 1a2b3c4d5e · CPU, 1 process, 2 threads"
    )
    assert _made({}, seconds=2.4)[0] == "trained in 2 seconds"
    assert _made({}, seconds=9000) == ("trained in 2.5 hours", "revision unknown")
