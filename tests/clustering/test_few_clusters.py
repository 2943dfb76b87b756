"""The message of an epoch with too few clusters: which setting to turn which way."""

from typing import Any

import pandas as pd
import pytest

from pipeline.clustering.few_clusters import TooFew

_USUAL = {"found": 3, "images": 150, "batch": 32, "instances": 4, "eps": 0.69, "start": 0.7, "min_samples": 4}


def told(clusters: list[int], largest: list[float], **changes: Any) -> str:
    table = pd.DataFrame({"k1": 10, "eps": [0.3, 0.5, 0.7], "clusters": clusters, "largest": largest, "outliers": 0.2})
    return str(TooFew(**{**_USUAL, **changes}).error(table, k1=10))


def test_the_curve_and_what_is_needed_are_named() -> None:
    text = told([2, 14, 3], [0.02, 0.1, 0.91])
    assert text.startswith("3 clusters among 150 images at eps 0.69, and a batch needs 8 (sampler.batch 32 / ")
    assert text.endswith("Clusters by eps, and the share of the largest: 0.3: 2 (2%), 0.5: 14 (10%), 0.7: 3 (91%)")


@pytest.mark.parametrize(
    ("clusters", "largest", "changes", "advice"),
    [
        ([2, 14, 3], [0.02, 0.1, 0.91], {}, "lower clustering.eps to 0.5, which finds 14"),
        ([2, 3, 14], [0.02, 0.1, 0.2], {"eps": 0.495, "start": 0.5}, "raise clustering.eps to 0.7, which finds 14"),
        (
            [2, 14, 3],
            [0.02, 0.1, 0.91],
            {"eps": 0.4},
            "come down from 0.7, by clustering.eps_schedule=fix and clustering.eps=0.5",
        ),
        ([2, 14, 3], [0.02, 0.1, 0.91], {"eps": 0.6, "start": 0.8}, "lower clustering.eps to 0.5, which finds 14"),
        (
            [2, 6, 3],
            [0.02, 0.1, 0.91],
            {},
            "lower sampler.batch to 12 and model.bn_group to 12 (or a divisor), and lower clustering.eps to 0.5",
        ),
        ([1, 1, 1], [0.5, 0.9, 1.0], {"found": 1}, "start from better weights (pretrained), or lower clustering.min_s"),
    ],
)
def test_advice_says_which_way(clusters: Any, largest: Any, changes: Any, advice: str) -> None:
    assert advice in told(clusters, largest, **changes)
