"""Tables get the images of the rows that they name."""

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.names import Names
from pipeline.report.illustrations import (
    illustrate_confused_pairs,
    illustrate_map,
    illustrate_ranked_lists,
    non_overlapping,
    sample_clusters,
)

TABLE = pd.DataFrame(
    [
        ("best", 1, 0.9, 2, 0, 0.7, "distractor"),
        ("best", 1, 0.9, 1, 2, 0.8, "right"),
        ("worst", 0, 0.1, 1, 1, 0.6, "wrong"),
    ],
    columns=["group", "query", "average_precision", "rank", "gallery", "similarity", "verdict"],
)


@pytest.fixture
def catalogue():
    return pd.DataFrame(
        {
            "split": ["train", "query", "query", "gallery", "gallery", "gallery"],
            "pid": pd.array([9, 1, 2, 0, 3, 2], dtype="Int64"),
            "camid": pd.array([1, 1, None, 2, 3, 4], dtype="Int64"),
        }
    )


@pytest.fixture
def images():
    return np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 2, 3), np.uint8)


def test_ranked_lists_takes_the_rows_of_each_split_in_order_of_rank(catalogue, images):
    best, worst = illustrate_ranked_lists(TABLE, catalogue=catalogue, images=images)
    assert (best.group, best.average_precision, best.query_pid, best.query_camid) == ("best", 0.9, 2, None)
    assert best.query_image[0, 0, 0] == 2
    shown = [(entry.image[0, 0, 0], entry.verdict, entry.pid, entry.camid, entry.similarity) for entry in best.entries]
    assert shown == [(5, "right", 2, 4, 0.8), (3, "distractor", 0, 2, 0.7)]
    assert (worst.group, worst.query_pid, worst.query_camid, worst.entries[0].pid) == ("worst", 1, 1, 3)


def test_ranked_lists_reads_a_table_back_from_csv_and_a_memory_map(catalogue, images, tmp_path):
    TABLE.to_csv(tmp_path / "lists.csv", index=False)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    lists = illustrate_ranked_lists(pd.read_csv(tmp_path / "lists.csv"), catalogue=catalogue, images=mapped)
    assert [entry.verdict for entry in lists[0].entries] == ["right", "distractor"]
    assert type(lists[0].query_image) is np.ndarray


def test_ranked_lists_of_nothing_is_empty(catalogue, images):
    assert illustrate_ranked_lists(TABLE.iloc[:0], catalogue=catalogue, images=images) == ()


def test_ranked_lists_leaves_its_input_alone(catalogue, images):
    before = TABLE.copy(deep=True), catalogue.copy(deep=True), images.copy()
    illustrate_ranked_lists(TABLE, catalogue=catalogue, images=images)
    pd.testing.assert_frame_equal(TABLE, before[0])
    pd.testing.assert_frame_equal(catalogue, before[1])
    np.testing.assert_array_equal(images, before[2])


PAIRS_CATALOGUE = pd.DataFrame({"pid": [9, 3, 7, 7, 3], "split": ["train", "query", "query", "gallery", "gallery"]})
PAIRS_IMAGES = np.stack([np.full((4, 2, 3), row, np.uint8) for row in range(5)])
PAIRS = pd.DataFrame(
    [[3, 7, 5, 0, 0, 0.9], [3, 7, 5, 1, 1, 0.8]],
    columns=["identity", "other", "count", "query", "gallery", "similarity"],
)


def test_confused_pairs_put_each_identity_on_its_side() -> None:
    (pair,) = illustrate_confused_pairs(PAIRS, catalogue=PAIRS_CATALOGUE, images=PAIRS_IMAGES)
    assert (pair.identity, pair.other, pair.count) == (3, 7, 5)
    rows = [(int(left[0, 0, 0]), int(right[0, 0, 0]), similarity) for left, right, similarity in pair.examples]
    assert rows == [(1, 3, 0.9), (4, 2, 0.8)], "identity 3 at the left, be it the query or not"
    assert illustrate_confused_pairs(PAIRS.iloc[:0], catalogue=PAIRS_CATALOGUE, images=PAIRS_IMAGES) == ()


def cluster_table(*sizes, outliers=0):
    labels = np.repeat([*range(len(sizes)), -1], [*sizes, outliers])
    return pd.DataFrame({"path": [f"{row}.jpg" for row in range(len(labels))], "cluster": labels})


def pictures(number):
    """Image n is n everywhere."""
    return np.broadcast_to(np.arange(number, dtype=np.uint8)[:, None, None, None], (number, 8, 4, 3))


def test_sample_shows_all_of_few_clusters_and_the_outliers_last():
    samples = sample_clusters(cluster_table(5, 3, outliers=2), images=pictures(10))
    assert [(sample.number, sample.size) for sample in samples] == [(0, 5), (1, 3), (None, 2)]
    assert [int(image[0, 0, 0]) for image in samples[1].images] == [5, 6, 7]


def test_sample_spreads_over_the_sizes_and_over_a_cluster():
    samples = sample_clusters(
        cluster_table(*range(30, 0, -1)), images=np.zeros((465, 8, 4, 3), np.uint8), clusters=4, length=3
    )
    assert [sample.number for sample in samples] == [0, 10, 19, 29]
    assert [sample.size for sample in samples] == [30, 20, 11, 1]
    shown = sample_clusters(cluster_table(9), images=pictures(9), length=3)[0]
    assert [int(image[0, 0, 0]) for image in shown.images] == [0, 4, 8]


def test_sample_without_clusters_shows_outliers():
    samples = sample_clusters(cluster_table(outliers=4), images=pictures(4), length=2)
    assert [(sample.number, len(sample.images)) for sample in samples] == [(None, 2)]


def test_sample_reads_only_what_it_shows():
    class Counted:
        def __init__(self):
            self.read = []

        def __len__(self):
            return 9

        def __getitem__(self, row):
            self.read.append(int(row))
            return np.zeros((8, 4, 3), np.uint8)

    images = Counted()
    sample_clusters(cluster_table(9), images=images, length=3)
    assert images.read == [0, 4, 8]


@pytest.mark.parametrize("most", [10, 1000])
def test_non_overlapping_leaves_no_overlap_and_no_room(most: int) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    chosen = non_overlapping(points, width=0.2, height=0.3, most=most)
    assert len(set(chosen.tolist())) == len(chosen) <= most
    clash = np.array(
        [[abs(a[0] - b[0]) < 0.2 and abs(a[1] - b[1]) < 0.3 for b in points[chosen]] for a in points]
    )  # a point, and a picture that is shown
    assert clash[chosen].sum() == len(chosen), "each clashes with itself alone"
    if most == 1000:
        assert clash.any(axis=1).all(), "every other one would overlap"
    np.testing.assert_array_equal(chosen, non_overlapping(points, width=0.2, height=0.3, most=most))


def map_table(splits: list[str], labels: list[int]) -> pd.DataFrame:
    spread = np.linspace(-1, 1, len(splits))
    return pd.DataFrame({"split": splits, "image": 0, "label": labels, "x": spread, "y": spread})


MAP_CATALOGUE = pd.DataFrame({"split": ["train", "query", "gallery"]})
MAP_IMAGES = np.stack([np.full((4, 2, 3), row, np.uint8) for row in range(3)])


def test_map_takes_the_pictures_of_the_splits() -> None:
    found = illustrate_map(map_table(["query", "gallery"], [5, 0]), catalogue=MAP_CATALOGUE, images=MAP_IMAGES)
    assert found is not None and found.groups == "identity" and found.alone.tolist() == [False, True]
    assert {row: int(image[0, 0, 0]) for row, image in found.pictures.items()} == {0: 1, 1: 2}
    assert found.total == 2, "queries and gallery"
    clusters = illustrate_map(map_table(["train"], [-1]), catalogue=MAP_CATALOGUE, images=MAP_IMAGES)
    assert clusters is not None and clusters.groups == "cluster" and clusters.alone.tolist() == [True]
    assert illustrate_map(map_table([], []), catalogue=MAP_CATALOGUE, images=MAP_IMAGES) is None


def test_illustrations_call_identities_and_cameras_by_their_names(catalogue, images):
    names = Names({2: "anna"}, {4: "gate"})
    right = illustrate_ranked_lists(TABLE, catalogue=catalogue, images=images, names=names)[0].entries[0]
    assert (right.pid, right.camid) == ("anna", "gate")
    pairs = pd.DataFrame(
        [(2, 3, 5, 0, 1, 0.5)], columns=["identity", "other", "count", "query", "gallery", "similarity"]
    )
    pair = illustrate_confused_pairs(pairs, catalogue=catalogue, images=images, names=names)[0]
    assert (pair.identity, pair.other) == ("anna", 3)
