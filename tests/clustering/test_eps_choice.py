"""Clusterings over a grid of eps and k1 from one set of embeddings, and the one that is suggested."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.clustering import (
    CameraAware,
    camera_jaccard_distance,
    cluster_signals,
    dbscan,
    jaccard_distance,
    pseudo_labels,
)
from pipeline.clustering.eps_choice import EPS, LARGEST, clusterings, suggested
from pipeline.datasets.links import Links


def people(*, each: int = 12, count: int = 20, noise: float = 0.25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, 16) and cameras (N,) of some people."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, 16)).repeat(each, axis=0)
    rows += noise * rng.standard_normal(rows.shape) * 4
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.tile(np.arange(each) % 3, count)


def test_every_row_is_the_clustering_with_its_eps_and_k1() -> None:
    embeddings, cameras = people()
    done: list[int] = []
    table = clusterings(
        embeddings, k1=(20, 8, 8), k2=6, min_samples=4, cameras=cameras, advance=lambda: done.append(1)
    ).table
    assert list(table["k1"]) == [8] * len(EPS) + [20] * len(EPS) and list(table["eps"]) == list(EPS) * 2
    assert len(done) == 2
    for k1, eps, clusters, outliers, largest, *signals in table.itertuples(index=False):
        labels = dbscan(jaccard_distance(embeddings, k1=k1, k2=6, max_distance=eps), eps=eps, min_samples=4)
        assert clusters == labels.max(initial=-1) + 1 and outliers == (labels < 0).mean()
        assert largest == max([0, *((labels == k).mean() for k in range(clusters))])
        expected = cluster_signals(labels, cameras=cameras, before=None)
        assert signals == list(expected.values()) or (clusters == 0 and np.isnan(signals).all())


def test_camera_aware_distance_has_no_k1() -> None:
    embeddings, cameras = people(count=6)
    how = CameraAware(cameras=cameras, k_intra=3, k_inter=6, k2_intra=2, k2_inter=2)
    table = clusterings(embeddings, eps=(0.4, 0.6), k1=(999,), k2=6, min_samples=4, camera_aware=how).table
    assert list(table["k1"]) == [0, 0]
    labels = dbscan(camera_jaccard_distance(embeddings, how, max_distance=0.6), eps=0.6, min_samples=4)
    assert table["clusters"].iloc[1] == labels.max() + 1


def test_k1_beyond_the_images_is_left_out_and_alone_an_error() -> None:
    embeddings, _ = people(count=2)
    assert set(clusterings(embeddings, eps=(0.5,), k1=(10, 24), k2=2, min_samples=4).table["k1"]) == {10}
    with pytest.raises(ValueError, match=r"k1 must be below the number of images, 24, got \[24, 30\]"):
        clusterings(embeddings, k1=(24, 30), k2=2, min_samples=4)


def table_of(*rows: tuple[int, float, int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["k1", "eps", "clusters", "outliers", "largest"])


def test_most_clusters_are_suggested_unless_they_have_flowed_together() -> None:
    table = table_of(
        (10, 0.4, 99, 0.0, 0.1),  # of another k1
        (30, 0.3, 9, 0.8, 0.02),
        (30, 0.4, 12, 0.6, 0.04),
        (30, 0.5, 12, 0.5, 0.04),
        (30, 0.6, 14, 0.1, LARGEST + 0.01),
    )
    row = suggested(table, k1=30)
    assert row is not None and row["eps"] == 0.5
    row = suggested(table, k1=40)  # which there is not
    assert row is not None and row["eps"] == 0.5
    row = suggested(table, k1=10)
    assert row is not None and row["eps"] == 0.4


def test_nothing_is_suggested_where_all_flows_together_or_nothing_does() -> None:
    assert suggested(table_of((30, 0.4, 0, 1.0, 0.0), (30, 0.5, 1, 0.1, 0.2), (30, 0.6, 2, 0.0, 0.9)), k1=30) is None


def test_people_who_are_far_apart_are_found() -> None:
    embeddings, _ = people(noise=0.05)
    row = suggested(clusterings(embeddings, k1=(12,), k2=6, min_samples=4).table, k1=12)
    assert row is not None and row["clusters"] == 20


@pytest.mark.parametrize("camera_aware", [False, True])
def test_every_clustering_is_that_of_the_training_with_its_links(camera_aware: bool) -> None:
    embeddings, cameras = people(count=8)
    groups = np.arange(len(embeddings))
    groups[[1, 2, 40]] = 0
    _, groups = np.unique(groups, return_inverse=True)
    links = Links(groups.astype(np.int64), np.array([[0, 4], [1, 2]]), np.array([7, 50]))
    how = CameraAware(cameras=cameras, k_intra=3, k_inter=6, k2_intra=2, k2_inter=2) if camera_aware else None
    more: dict[str, Any] = {"camera_aware": how, "links": links, "min_samples": 4, "k2": 6}
    table, labels = clusterings(embeddings, k1=(8,), **more)
    for eps, found in zip(table["eps"], labels, strict=True):
        expected = pseudo_labels(embeddings, eps=eps, k1=8, neighbours="exact", **more).labels
        np.testing.assert_array_equal(found, expected)
        assert (found[[7, 50]] == -1).all() and len(set(found[[0, 1, 2, 40]].tolist())) == 1
