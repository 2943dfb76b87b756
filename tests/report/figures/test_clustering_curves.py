"""Curves of the clustering: drawn where there are values, and said in words."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report import SplitSummary
from pipeline.report.figures.clustering_curves import cluster_quality_figure, clusters_figure, distances_figure
from pipeline.report.figures.drawing import Picture
from tests.report.minimal import minimal_report

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "eps": [0.6, 0.55, 0.5],
        "num_clusters": [40, 60, 80],
        "num_outliers": [100, 50, 25],
        "distance_within": [0.4, 0.3, 0.2],
        "distance_between": [0.1, 0.2, 0.3],
        "pairwise_precision": [0.1, 0.2, 0.3],
        "pairwise_recall": [0.4, 0.5, 0.6],
        "pairwise_f": [0.2, 0.3, 0.4],
        "ari": [0.1, 0.2, 0.3],
        "ami": [0.5, 0.6, 0.7],
        "purity": [0.6, 0.7, 0.8],
    }
)


def cluster_curves(
    history: pd.DataFrame, *, num_identities: int | None = None, num_images: int | None = None
) -> list[Picture]:
    splits = () if num_images is None else (SplitSummary("train", num_images, num_identities, None),)
    data = minimal_report(history=history, splits=splits)
    pictures = (clusters_figure(data), distances_figure(data), cluster_quality_figure(data))
    return [picture for picture in pictures if picture is not None]


def drawn(history: pd.DataFrame, **known: int) -> dict[str, str]:
    pictures = cluster_curves(history, **known)
    assert all(min(picture.size) > 600 and picture.caption for picture in pictures)
    return {picture.name: picture.alt for picture in pictures}


def test_cluster_curves_say_all_their_values() -> None:
    alts = drawn(HISTORY, num_identities=90, num_images=200)
    assert list(alts) == ["clusters", "distances", "cluster_quality"]
    assert alts["clusters"] == (
        "Clustering over the epochs: eps 0.600 in epoch 1, 0.500 in epoch 3; clusters 40 in epoch 1, 80 in epoch 3;"
        " outliers, percent of the images 50.0 in epoch 1, 12.5 in epoch 3; the training set shows 90 identities."
    )
    assert alts["distances"] == (
        "Mean cosine distances over the epochs: within: image to its centroid 0.400 in epoch 1, 0.200 in epoch 3;"
        " between: centroid to the next 0.100 in epoch 1, 0.300 in epoch 3."
    )
    for part in (
        "precision 0.10",
        "recall 0.40",
        "F 0.20",
        "adjusted Rand 0.10",
        "adjusted mutual information 0.50",
        "purity 0.60",
        "share of outliers 0.50",
    ):
        assert f": {part} in epoch 1" in alts["cluster_quality"]


def test_cluster_curves_without_identities_speak_of_none() -> None:
    unknown = HISTORY.drop(columns=["ari", "ami", "purity", "pairwise_precision", "pairwise_recall", "pairwise_f"])
    pictures = cluster_curves(unknown, num_images=200)
    assert [picture.name for picture in pictures] == ["clusters", "distances"]
    assert not any("identit" in picture.alt for picture in pictures)
    assert "identities" not in pictures[0].caption


def test_cluster_curves_count_outliers_where_the_number_of_images_is_not_known() -> None:
    assert "outliers 100 in epoch 1, 25 in epoch 3" in drawn(HISTORY)["clusters"]
    assert "share of outliers" not in drawn(HISTORY)["cluster_quality"]


@pytest.mark.parametrize("column", ["eps", "num_outliers", "distance_within", "pairwise_f", "ari"])
def test_cluster_curves_take_columns_that_are_missing_or_empty(column: str) -> None:
    for history in (HISTORY.drop(columns=column), HISTORY.assign(**{column: np.nan})):
        assert list(drawn(history, num_images=200)) == ["clusters", "distances", "cluster_quality"]
    assert cluster_curves(HISTORY[["epoch"]]) == []


def test_cluster_curves_of_one_epoch() -> None:
    assert "eps 0.500 in epoch 3; clusters 80 in epoch 3" in drawn(HISTORY.iloc[2:], num_images=200)["clusters"]
