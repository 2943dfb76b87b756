"""The simulated user of benchmarks/corrections.py corrects what is wrong, by the page's own actions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corrections import correct, score, table_of
from pipeline.browse.actions import Actions
from pipeline.browse.run import Run
from pipeline.browse.session import Session
from tests.browse.conftest import COLOURS, EACH


@pytest.mark.parametrize("draw", range(3))
def test_every_mistake_is_corrected_in_the_end(run: Run, tmp_path: Path, draw: int) -> None:
    pids = np.repeat(np.arange(len(COLOURS)), EACH)
    labels = pids.copy()
    labels[:3] = 1  # of another cluster
    labels[EACH * 3 + 6 : EACH * 4] = 7  # a cluster in two parts
    labels[-2:] = -1
    session = Session(replace(run, labels=labels), Actions(tmp_path / "corrections.csv", tmp_path / "lock"))
    before, done, rng = score(session.labels(), pids), 0, np.random.default_rng(draw)
    while correct(session, pids, rng):
        done += 1
        assert session.overview()["decisions"] == done < 20
    assert before < score(session.labels(), pids) == 1 and done >= 4


def test_table_has_means_and_deviations_of_the_draws_that_got_there() -> None:
    table = table_of([0, 25, 50], [[(0.5, 0.5), (0.6, 0.7)], [(0.5, 0.5), (0.8, 0.7), (0.9, 0.9)]])
    assert table["draws"].tolist() == [2, 2, 1]
    assert table["page_ari"].tolist() == [0.5, 0.7, 0.9] and table["page_std"].tolist() == [0.0, 0.141, 0.0]
