"""The clusters that a report shows."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.report import ClusterSample, sample_clusters
from pipeline.report.figures.sheet import cluster_sheet
from pipeline.report.wording import cluster_caption


def table(*sizes, outliers=0):
    labels = np.repeat([*range(len(sizes)), -1], [*sizes, outliers])
    return pd.DataFrame({"path": [f"{row}.jpg" for row in range(len(labels))], "cluster": labels})


def pictures(number):
    """Image n is n everywhere."""
    return np.broadcast_to(np.arange(number, dtype=np.uint8)[:, None, None, None], (number, 8, 4, 3))


def test_sample_shows_all_of_few_clusters_and_the_outliers_last():
    samples = sample_clusters(table(5, 3, outliers=2), images=pictures(10))
    assert [(sample.number, sample.size) for sample in samples] == [(0, 5), (1, 3), (None, 2)]
    assert [int(image[0, 0, 0]) for image in samples[1].images] == [5, 6, 7]


def test_sample_spreads_over_the_sizes_and_over_a_cluster():
    samples = sample_clusters(table(*range(30, 0, -1)), images=np.zeros((465, 8, 4, 3), np.uint8), clusters=4, length=3)
    assert [sample.number for sample in samples] == [0, 10, 19, 29]
    assert [sample.size for sample in samples] == [30, 20, 11, 1]
    shown = sample_clusters(table(9), images=pictures(9), length=3)[0]
    assert [int(image[0, 0, 0]) for image in shown.images] == [0, 4, 8]


def test_sample_without_clusters_shows_outliers():
    samples = sample_clusters(table(outliers=4), images=pictures(4), length=2)
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
    sample_clusters(table(9), images=images, length=3)
    assert images.read == [0, 4, 8]


@pytest.mark.parametrize(
    ("number", "size", "caption"), [(7, 1200, "cluster 7, 1,200 images"), (None, 1, "outliers, 1 image")]
)
def test_caption_names_cluster_and_size(number, size, caption):
    assert cluster_caption(ClusterSample(number, size, (np.zeros((8, 4, 3), np.uint8),))) == caption


@pytest.mark.parametrize("shape", [(64, 32, 3), (32, 64, 3)])
def test_sheet_says_what_it_shows(shape):
    image = np.zeros(shape, np.uint8)
    picture = cluster_sheet([ClusterSample(0, 9, (image,) * 4), ClusterSample(None, 3, (image,))])
    assert picture is not None and picture.name == "cluster_sheet"
    assert picture.alt.startswith("1 cluster of training images") and picture.alt.endswith("and some outliers.")
    assert Image.open(io.BytesIO(picture.png)).width > 300
    assert cluster_sheet([]) is None
