"""The most confused identities with their pictures."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report import ConfusedPair, illustrate_pairs
from pipeline.report.confusion import confusion_sheet

CATALOGUE = pd.DataFrame({"pid": [9, 3, 7, 7, 3], "split": ["train", "query", "query", "gallery", "gallery"]})
IMAGES = np.stack([np.full((4, 2, 3), row, np.uint8) for row in range(5)])
TABLE = pd.DataFrame(
    [[3, 7, 5, 0, 0, 0.9], [3, 7, 5, 1, 1, 0.8]],
    columns=["identity", "other", "count", "query", "gallery", "similarity"],
)


def test_illustrate_pairs_puts_each_identity_on_its_side() -> None:
    (pair,) = illustrate_pairs(TABLE, catalogue=CATALOGUE, images=IMAGES)
    assert (pair.identity, pair.other, pair.count) == (3, 7, 5)
    rows = [(int(left[0, 0, 0]), int(right[0, 0, 0]), similarity) for left, right, similarity in pair.examples]
    assert rows == [(1, 3, 0.9), (4, 2, 0.8)], "identity 3 at the left, be it the query or not"
    assert illustrate_pairs(TABLE.iloc[:0], catalogue=CATALOGUE, images=IMAGES) == ()


def test_confusion_sheet_shows_all_pairs() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    pairs = [ConfusedPair(number, number + 1, 9 - number, ((image, image, 0.5),) * number) for number in (1, 2, 3)]
    picture = confusion_sheet(pairs)
    assert picture is not None and min(picture.size) > 300
    assert picture.alt.startswith("3 pairs of identities") and "most confused are 1 and 2" in picture.alt
    assert confusion_sheet([]) is None


def test_confused_pair_is_of_two_identities() -> None:
    image = np.zeros((4, 2, 3), np.uint8)
    with pytest.raises(AssertionError):
        ConfusedPair(3, 3, 1, ((image, image, 0.5),))
