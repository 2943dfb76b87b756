"""The clustering step as a whole, and its result as a table."""

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from pipeline.clustering import cluster_table, dbscan, jaccard_distance, nearest_neighbours, pseudo_labels

HOW: dict[str, Any] = {"min_samples": 3, "k1": 6, "k2": 2, "neighbours": "exact"}


@pytest.fixture(scope="module")
def groups():
    """Three tight groups of 5, 9 and 7 embeddings and 4 that belong nowhere, shuffled; (N, D) and true groups."""
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    truth = rng.permutation(np.repeat([0, 1, 2, 3, 4, 5, 6], [5, 9, 7, 1, 1, 1, 1]))
    rows = centres[truth] + 0.02 * rng.standard_normal((len(truth), 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), truth


def test_pseudo_labels_are_those_of_the_parts(groups):
    embeddings, _ = groups
    ranks = nearest_neighbours(embeddings, 6)
    distance = jaccard_distance(embeddings, k1=6, k2=2, max_distance=0.5, neighbours=ranks)
    found = pseudo_labels(embeddings, eps=0.5, **HOW)
    np.testing.assert_array_equal(found.labels, dbscan(distance, eps=0.5, min_samples=3))
    assert found.neighbour_recall is None


def test_pseudo_labels_times_each_part_and_measures_the_recall_of_an_approximate_search(groups):
    parts = []

    @contextmanager
    def timed(part):
        parts.append(part)
        yield

    pseudo_labels(groups[0], eps=0.5, timed=timed, **HOW)
    assert parts == ["neighbours", "jaccard", "dbscan"]
    parts.clear()
    found = pseudo_labels(groups[0], eps=0.5, timed=timed, **{**HOW, "neighbours": "approximate"})
    assert parts == ["neighbours", "recall", "jaccard", "dbscan"]
    assert found.neighbour_recall is not None and 0 < found.neighbour_recall <= 1


def test_pseudo_labels_leave_the_embeddings_alone(groups):
    before = groups[0].copy()
    pseudo_labels(groups[0], eps=0.5, **HOW)
    np.testing.assert_array_equal(groups[0], before)


def test_cluster_table_numbers_clusters_by_size_and_keeps_the_order_of_the_images():
    labels = np.array([1, 0, -1, 1, 2, 1, 2])
    table = cluster_table(labels, list("abcdefg"))
    assert list(table.columns) == ["path", "cluster"] and table["path"].tolist() == list("abcdefg")
    assert table["cluster"].tolist() == [0, 2, -1, 0, 1, 0, 1]


def test_cluster_table_without_a_cluster_has_outliers_only():
    assert cluster_table(np.array([-1, -1, -1]), ["a", "b", "c"])["cluster"].tolist() == [-1, -1, -1]
