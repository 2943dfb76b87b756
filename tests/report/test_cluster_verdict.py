"""Verdicts on the signals that trainings on drawn people have left, of the three kinds and between them."""

from typing import Any

import pandas as pd
import pytest

from pipeline.report.cluster_verdict import ClusterVerdict, cluster_verdict

SETTINGS = {"clustering": {"distance": "jaccard"}}
IMAGES = 1176
# Clusters, outliers, share of single-camera clusters, agreement, silhouette: of 1,176 drawn people's images.
LEARNED = (82, 187, 0.0, 0.82, 0.495)  # from weights of other people, after 8 epochs: adjusted Rand index 0.32
CAMERAS = (54, 674, 0.43, 0.46, 0.264)  # synthetic.camera_strength 4, from random weights, after 10 epochs: 0.002
UNTRAINED = (14, 1008, 0.07, 0.41, 0.144)  # random weights that nothing has moved: 0.001
BARELY = (44, 723, 0.0, 0.30, 0.219)  # random weights after 4 epochs: 0.007
STARTED = (78, 303, 0.0, 0.64, 0.396)  # from weights of other people, after 4 epochs: 0.13


def history(clusters: int, outliers: int, single: float | None, agreement: float | None, apart: float) -> pd.DataFrame:
    last = {"single_camera": single, "ari_last_epoch": agreement, "silhouette": apart}
    known = {name: [None, value] for name, value in last.items() if value is not None}
    return pd.DataFrame({"num_clusters": [1, clusters], "num_outliers": [0, outliers], **known})


def verdict(table: pd.DataFrame, *, random_start: bool = False, **settings: object) -> ClusterVerdict | None:
    return cluster_verdict(table, SETTINGS | settings, images=IMAGES, random_start=random_start)


@pytest.mark.parametrize(
    ("signals", "kind"),
    [(LEARNED, "trust"), (STARTED, "unsure"), (CAMERAS, "cameras"), (UNTRAINED, "chance"), (BARELY, "chance")],
)
def test_verdict_on_each_kind_of_training(signals: tuple, kind: str) -> None:
    found = verdict(history(*signals))
    assert found is not None and found.kind == kind


def test_verdict_says_what_to_do() -> None:
    def text(signals: tuple, **changes: Any) -> str:
        found = verdict(history(*signals), **changes)
        assert found is not None
        return found.text

    assert text(LEARNED).startswith("the clusters are stable, stand apart and mix cameras: trust them")
    assert "try method=dccc_cam" in text(CAMERAS)
    assert "although the distance knows them" in text(CAMERAS, clustering={"distance": "camera_jaccard"})
    assert "start from published ones (pretrained=imagenet)" in text(UNTRAINED, random_start=True)
    assert "start from weights of more similar images" in text(UNTRAINED)


def test_verdict_without_cameras_says_nothing_of_them() -> None:
    found = verdict(history(82, 187, None, 0.82, 0.495))
    assert found is not None and found.kind == "trust" and "camera" not in found.text


def test_verdict_does_not_trust_few_images() -> None:
    """The last epoch of 152 images of 38 drawn people, by the settings of stages.own: adjusted Rand index 0.16."""
    few = history(23, 64, None, 0.76, 0.693)
    found = cluster_verdict(few, SETTINGS, images=152, random_start=False)
    assert found is not None and found.kind == "unsure" and "152 images may do by chance" in found.text


def test_between_the_kinds_it_is_not_sure_and_without_signals_there_is_none() -> None:
    found = verdict(history(60, 400, 0.1, 0.4, 0.5))
    assert found is not None and found.kind == "unsure"
    assert verdict(pd.DataFrame()) is None
    assert verdict(history(60, 400, 0.1, 0.4, 0.28).drop(columns="silhouette")) is None
