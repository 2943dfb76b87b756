"""Contact sheets: ranked lists, clusters and confused identities, each in one picture."""

import numpy as np
import pytest

from pipeline.report import ClusterSample, ConfusedPair, RankedImage, RankedList
from pipeline.report.figures.contact_sheets import clusters_sheet, confused_pairs_sheet, ranked_lists_sheet
from tests.report.minimal import minimal_report
from tests.report.pictures import opened


def ranked_sheet(lists):
    return ranked_lists_sheet(minimal_report(ranked_lists=tuple(lists)))


def cluster_sheet(samples):
    return clusters_sheet(minimal_report(clusters=tuple(samples)))


def confusion_sheet(pairs):
    return confused_pairs_sheet(minimal_report(confused=tuple(pairs)))


def ranked(verdicts, shape=(64, 32, 3)):
    fill = np.full(shape, 200, np.uint8)
    entries = tuple(RankedImage(fill, verdict, 3, 1, 0.5) for verdict in verdicts)
    return RankedList(fill, entries, 3, 2, 0.5, "best")


def test_ranked_sheet_marks_right_wrong_and_distractors():
    picture = ranked_sheet([ranked(["right", "wrong", "distractor"]), ranked(["wrong"])])
    pixels = opened(picture).astype(int)
    for colour in ((0x1A, 0x7F, 0x37), (0xC6, 0x28, 0x28), (0x6B, 0x72, 0x80)):
        assert (np.abs(pixels - colour).sum(axis=2) < 40).sum() > 100, colour
    assert picture.alt == "2 queries with their first 3 gallery images; 1 of 4 places are right."
    assert ranked_sheet([]) is None


def test_ranked_sheet_takes_wide_pictures_and_an_empty_list():
    tall = opened(ranked_sheet([ranked(["right"])]))
    wide = opened(ranked_sheet([ranked(["right"], shape=(32, 64, 3))]))
    assert wide.shape[0] < tall.shape[0]
    opened(ranked_sheet([ranked([])]))


def test_ranked_sheet_is_light_for_photographs():
    noise = np.random.default_rng(0).integers(0, 256, (256, 128, 3), dtype=np.uint8)
    entries = tuple(RankedImage(noise, "right") for _ in range(10))
    assert len(ranked_sheet([RankedList(noise, entries)] * 2).png) < 450_000


@pytest.mark.parametrize("shape", [(64, 32, 3), (32, 64, 3)])
def test_sheet_says_what_it_shows(shape):
    image = np.zeros(shape, np.uint8)
    picture = cluster_sheet([ClusterSample(0, 9, (image,) * 4), ClusterSample(None, 3, (image,))])
    assert picture is not None and picture.name == "cluster_sheet"
    assert picture.alt.startswith("1 cluster of training images") and picture.alt.endswith("and some outliers.")
    assert picture.size[0] > 300
    assert cluster_sheet([]) is None


def test_confusion_sheet_shows_all_pairs() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    pairs = [ConfusedPair(number, number + 1, 9 - number, ((image, image, 0.5),) * number) for number in (1, 2, 3)]
    picture = confusion_sheet(pairs)
    assert picture is not None and min(picture.size) > 300
    assert picture.alt.startswith("3 pairs of identities") and "most confused are 1 and 2" in picture.alt
    assert confusion_sheet([]) is None
