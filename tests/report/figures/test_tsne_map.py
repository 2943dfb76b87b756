"""The map of the embedding, drawn."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.report import EmbeddingMap, read_map
from pipeline.report.figures.embedding_map import apart, map_figure


@pytest.mark.parametrize("most", [10, 1000])
def test_apart_leaves_no_overlap_and_no_room(most: int) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    chosen = apart(points, width=0.2, height=0.3, most=most)
    assert len(set(chosen.tolist())) == len(chosen) <= most
    clash = np.array(
        [[abs(a[0] - b[0]) < 0.2 and abs(a[1] - b[1]) < 0.3 for b in points[chosen]] for a in points]
    )  # a point, and a picture that is shown
    assert clash[chosen].sum() == len(chosen), "each clashes with itself alone"
    if most == 1000:
        assert clash.any(axis=1).all(), "every other one would overlap"
    np.testing.assert_array_equal(chosen, apart(points, width=0.2, height=0.3, most=most))


def table(splits: list[str], labels: list[int]) -> pd.DataFrame:
    spread = np.linspace(-1, 1, len(splits))
    return pd.DataFrame({"split": splits, "image": 0, "label": labels, "x": spread, "y": spread})


CATALOGUE = pd.DataFrame({"split": ["train", "query", "gallery"]})
IMAGES = np.stack([np.full((4, 2, 3), row, np.uint8) for row in range(3)])


def test_read_map_takes_the_pictures_of_the_splits() -> None:
    found = read_map(table(["query", "gallery"], [5, 0]), catalogue=CATALOGUE, images=IMAGES)
    assert found is not None and found.groups == "identity" and found.alone.tolist() == [False, True]
    assert {row: int(image[0, 0, 0]) for row, image in found.pictures.items()} == {0: 1, 1: 2}
    clusters = read_map(table(["train"], [-1]), catalogue=CATALOGUE, images=IMAGES)
    assert clusters is not None and clusters.groups == "cluster" and clusters.alone.tolist() == [True]
    assert read_map(table([], []), catalogue=CATALOGUE, images=IMAGES) is None


def test_map_figure_colours_the_most_frequent() -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.zeros(5, int), np.repeat(np.arange(1, 21), 4), [20]])
    points = rng.uniform(-1, 1, (len(labels), 2))
    image = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
    picture = map_figure(EmbeddingMap(points, labels, labels == 0, "identity", {0: image, 9: image}))
    assert picture.alt == (
        "t-SNE map of 86 images of 20 identities, with the pictures of 2; 12 of them in a colour of their own, the"
        " largest identity 20."
    )
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x79, 0x5A)):
        assert (np.abs(pixels - colour).sum(axis=2) < 40).sum() > 100
    assert picture.png == map_figure(EmbeddingMap(points, labels, labels == 0, "identity", {0: image, 9: image})).png


def test_map_figure_of_outliers_alone() -> None:
    alone = EmbeddingMap(np.zeros((2, 2)), np.array([-1, -1]), np.array([True, True]), "cluster", {})
    assert map_figure(alone).alt == "t-SNE map of 2 images, none of them in a cluster."
