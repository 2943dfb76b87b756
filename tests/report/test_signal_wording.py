"""The sentences about the clusters' signals."""

import pandas as pd
import pytest

from pipeline.report.figures.signal_curves import signals_figure
from pipeline.report.signal_wording import signal_sentences
from pipeline.report.wording import summary
from tests.report.minimal import minimal_report

PLAIN = {"clustering": {"distance": "jaccard"}}


def history(**last):
    return pd.DataFrame({"epoch": [1, 2], **{name: [None, value] for name, value in last.items()}})


def test_many_single_camera_clusters_are_a_warning_with_advice():
    (said,) = signal_sentences(history(single_camera=0.41, camera_entropy=0.3), PLAIN)
    assert said == (
        "41% of the last epoch's clusters hold one camera only (camera entropy 0.30 of 1): the training may be learning"
        " cameras; try clustering.distance=camera_jaccard."
    )


def test_advice_is_not_given_to_who_has_taken_it():
    (said,) = signal_sentences(history(single_camera=0.41), {"clustering": {"distance": "camera_jaccard"}})
    assert said.endswith("one camera only: the training may be learning cameras.")


def test_few_single_camera_clusters_are_no_warning():
    (said,) = signal_sentences(history(single_camera=0.04), PLAIN)
    assert said == "4% of the last epoch's clusters hold one camera only: most clusters join cameras."


@pytest.mark.parametrize(
    ("agreement", "end"),
    [(0.9, ": they have settled."), (0.6, ": they still change."), (0.1, "may change the result.")],
)
def test_agreement_says_whether_clusters_have_settled(agreement, end):
    (said,) = signal_sentences(history(ari_last_epoch=agreement), PLAIN)
    assert f"an adjusted Rand index of {agreement:.2f}" in said and said.endswith(end)


def test_nothing_is_said_of_what_is_not_known():
    assert signal_sentences(pd.DataFrame({"epoch": [1, 2]}), PLAIN) == []
    assert signal_sentences(pd.DataFrame({"epoch": []}), PLAIN) == []
    assert signals_figure(minimal_report()) is None


def test_signals_are_in_the_summary_and_in_a_figure():
    data = minimal_report(history=history(single_camera=0.5, ari_last_epoch=0.7), settings=PLAIN)
    assert "50% of the last epoch's clusters hold one camera only" in summary(data)
    picture = signals_figure(data)
    assert picture is not None and "one camera alone" in picture.alt
