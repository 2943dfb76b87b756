"""Scores by tracklet: against a loop over pairs of tracklets, with cameras and without."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.candidates import compare, summary_of, table_of
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.test_set import TestSet
from tests.evaluation.test_test_set import GALLERY, QUERY, Part, packed, part, unit


def named(side: Part, place: int) -> list[tuple[Any, ...]]:
    """What each image is an image of: its tracklet, or itself."""
    assert side.tracklets is not None
    return [("tracklet", t) if t >= 0 else (side.paths[n], place) for n, t in enumerate(side.tracklets)]


def naive(query: Part, gallery: Part, *, cameras: bool) -> tuple[float, float]:
    """mAP and rank-1 by loops over tracklets, means and ranked lists."""
    sides = []
    for place, side in enumerate((query, gallery)):
        assert side.pids is not None and side.camids is not None
        found: dict[Any, list[int]] = {}
        for row, name in enumerate(named(side, place)):
            found.setdefault(name, []).append(row)
        features = unit(side.images).astype(np.float64)
        means = [features[rows].mean(axis=0) for rows in found.values()]
        own = [side.camids[rows[0]] if cameras else name for name, rows in found.items()]
        units = [mean / np.linalg.norm(mean) for mean in means]
        sides.append(list(zip(units, [side.pids[rows[0]] for rows in found.values()], own, strict=True)))
    precisions, firsts = [], []
    for mean, pid, own in sides[0]:
        rest = [each for each in sides[1] if not (each[1] == pid and each[2] == own)]
        ranked = sorted(rest, key=lambda each: -float(mean @ each[0]))
        places = [place for place, each in enumerate(ranked, 1) if each[1] == pid]
        if places:
            precisions.append(np.mean([number / place for number, place in enumerate(places, 1)]))
            firsts.append(places[0] == 1)
    return float(np.mean(precisions)), float(np.mean(firsts))


def drawn(seed: int) -> tuple[Part, Part]:
    """Tracklets of one identity and one camera each, some with images on both sides, and images of none."""
    rng = np.random.default_rng(seed)
    pids, cams = rng.integers(1, 6, 30), rng.integers(1, 4, 30)
    sides = []
    for count, name in ((25, "query"), (70, "gallery")):
        tracklet = rng.integers(0, 30, count)
        side = part(rng.integers(1, 200, (count, 2)), pids[tracklet], cams[tracklet], name)
        sides.append(replace(side, tracklets=np.where(rng.random(count) < 0.2, -1, tracklet)))
    return sides[0], sides[1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cameras", [True, False])
def test_scores_by_tracklet_are_those_of_a_loop(seed: int, cameras: bool) -> None:
    query, gallery = drawn(seed)
    shown = (query, gallery) if cameras else (replace(query, camids=None), replace(gallery, camids=None))
    test = TestSet(packed(*shown))
    found = test.score_tracklets(*test.embed(unit))
    assert found is not None and test.uses_cameras is cameras
    assert (found.mean_ap, found.cmc[1]) == pytest.approx(naive(query, gallery, cameras=cameras))
    assert found.num_queries == len(set(named(query, 0)))


def test_tracklets_of_one_image_score_as_images() -> None:
    query, gallery = (replace(side, tracklets=np.arange(len(side))) for side in (QUERY, GALLERY))
    test = TestSet(packed(query, gallery))
    features = test.embed(unit)
    found, images = test.score_tracklets(*features), test.score(*features)
    assert found is not None and (found.mean_ap, found.cmc, found.mean_inp) == (
        images.mean_ap,
        images.cmc,
        images.mean_inp,
    )


def test_without_tracklets_nothing_is_scored_by_them() -> None:
    test = TestSet(packed())
    assert test.tracklets is None and test.score_tracklets(*test.embed(unit)) is None
    assert list(compare(test, {"student": unit}).metrics) == ["student", "queries"]


def test_tracklets_without_a_match_are_not_scored() -> None:
    """All images of the one identity that both sides show are one tracklet, and no camera is known."""
    query = replace(part([[1, 0]], [1], [1], "query"), camids=None, tracklets=np.array([4]))
    gallery = replace(part([[1, 0], [0, 1]], [1, 2], [1, 1], "gallery"), camids=None, tracklets=np.array([4, -1]))
    test = TestSet(packed(query, gallery))
    assert test.score(*test.embed(unit)).num_valid_queries == 1
    assert test.score_tracklets(*test.embed(unit)) is None


def test_scores_by_tracklet_stand_in_the_metrics_the_table_and_the_summary() -> None:
    query = replace(QUERY, tracklets=np.array([0, -1, -1]))
    test = TestSet(packed(query, replace(GALLERY, tracklets=np.array([-1, 7, -1, 9, 7]))))
    scored = compare(test, {"student": unit, "untrained": unit}).metrics
    assert list(scored) == ["student", "student_tracklets", "untrained", "untrained_tracklets", "queries"]
    assert scored["queries"] == {"all": 3, "valid": 2, "tracklets": 3, "valid_tracklets": 2}
    assert table_of(scored).splitlines()[-1] == "as tracklets: 2 of 3"
    summary = summary_of({**scored, "clustering": {"clusters": 1, "outliers": 0}})
    assert [summary[f"tracklets_{key}"] for key in METRICS] == list(scored["student_tracklets"].values())
