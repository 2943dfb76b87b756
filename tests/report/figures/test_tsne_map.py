"""The map of the embedding, drawn."""

import io

import numpy as np
from PIL import Image

from pipeline.report import EmbeddingMap
from pipeline.report.figures.tsne_map import draw_map


def test_map_figure_colours_the_most_frequent() -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.zeros(5, int), np.repeat(np.arange(1, 21), 4), [20]])
    points = rng.uniform(-1, 1, (len(labels), 2))
    image = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
    picture = draw_map(EmbeddingMap(points, labels, labels == 0, "identity", {0: image, 9: image}, total=900))
    assert picture.alt == (
        "t-SNE map of 86 images of 20 identities, with the pictures of 2; 12 of them in a colour of their own, the"
        " largest identity 20."
    )
    assert picture.caption.startswith("A sample, 86 of 900 test images. Images that the network finds alike")
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x79, 0x5A)):
        assert (np.abs(pixels - colour).sum(axis=2) < 40).sum() > 100
    assert (
        picture.png
        == draw_map(EmbeddingMap(points, labels, labels == 0, "identity", {0: image, 9: image}, total=900)).png
    )


def test_map_figure_of_outliers_alone() -> None:
    alone = EmbeddingMap(np.zeros((2, 2)), np.array([-1, -1]), np.array([True, True]), "cluster", {}, total=2)
    picture = draw_map(alone)
    assert picture.alt == "t-SNE map of 2 images, none of them in a cluster."
    assert picture.caption.startswith("All 2 training images.")
