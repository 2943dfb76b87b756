"""The colour histogram of stripes."""

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.evaluation import baselines, colour_histogram


def test_colour_histogram_of_a_hand_worked_example():
    # Two stripes of 2 x 1 pixels: the upper one red, the lower one half black, half white. Two bins a channel.
    image = np.array([[[255, 0, 0]], [[128, 127, 0]], [[0, 0, 0]], [[255, 255, 255]]], dtype=np.uint8)
    features = colour_histogram(image[None], stripes=2, bins=2)
    expected = np.zeros((2, 8))
    expected[0, 0b100] = np.sqrt(2 / 4)
    expected[1, 0b000] = expected[1, 0b111] = np.sqrt(1 / 4)
    np.testing.assert_allclose(features, [expected.ravel()], atol=1e-7)


@pytest.mark.parametrize(("height", "stripes", "bins"), [(12, 6, 8), (13, 5, 3), (7, 7, 16), (9, 1, 2)])
def test_colour_histogram_equals_numpy_on_each_stripe(height, stripes, bins):
    images = np.random.default_rng(0).integers(0, 256, (4, height, 5, 3), dtype=np.uint8)
    expected = []
    for image in images:
        rows = np.arange(height) * stripes // height
        parts = [
            np.histogramdd(image[rows == stripe].reshape(-1, 3), bins=bins, range=[(0, 256)] * 3)[0].ravel()
            for stripe in range(stripes)
        ]
        feature = np.sqrt(np.concatenate(parts))
        expected.append(feature / np.linalg.norm(feature))
    np.testing.assert_allclose(colour_histogram(images, stripes=stripes, bins=bins), expected, atol=1e-6)


def test_colour_histogram_has_rows_of_length_one_and_float32():
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 8, 3), dtype=np.uint8)
    features = colour_histogram(images)
    assert features.dtype == np.float32
    assert features.shape == (3, 6 * 8**3)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)


def test_colour_histogram_reads_in_chunks_and_modifies_nothing(monkeypatch, tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (7, 8, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    expected = colour_histogram(images)
    monkeypatch.setattr(baselines, "CHUNK_IMAGES", 3)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(colour_histogram(mapped), expected)
    np.testing.assert_array_equal(mapped, images)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 8, 4), np.uint8), {}, "images must be .* got uint8 of shape \\(2, 8, 4\\)"),
        (np.zeros((2, 8, 4, 3), np.float32), {}, "images must be .* got float32 of shape"),
        (np.zeros((2, 8, 4, 3), np.uint8), {"stripes": 9}, "stripes must be from 1 to the image height 8, got 9"),
        (np.zeros((2, 8, 4, 3), np.uint8), {"stripes": 0}, "stripes must be from 1 to the image height 8, got 0"),
        (np.zeros((2, 8, 4, 3), np.uint8), {"bins": 1}, "bins must be from 2 to 256, got 1"),
    ],
)
def test_colour_histogram_refuses(images, options, message):
    with pytest.raises(UserError, match=message):
        colour_histogram(images, **options)
