"""Published scores to compare a result with, for the three data sets of the paper.

Sources: He et al., ICASSP 2024 (arXiv 2303.06810) for DCCC and DCCC* (most likely the IBN backbone) and, as compared
there, Cluster Contrast (Dai et al., ACCV 2022) and SpCL (Ge et al., NeurIPS 2020). DCCC's are the best test-set score
over all the evaluations of a run, not the last one: compare them with the best of a run.
"""

from collections.abc import Mapping, Sequence

from pipeline.datasets.published_counts import PUBLISHED_IMAGES
from pipeline.report.contents import ResultRow, SplitSummary

# Of the scores below, which are percent as printed.
_METRICS = ("mAP", "rank1", "rank5", "rank10")
_PUBLISHED: dict[str, dict[str, tuple[float | None, ...]]] = {
    "market1501": {
        "DCCC (paper)": (86.6, 94.1, 98.0, 98.9),
        "DCCC* (paper)": (88.2, 95.2, 98.3, 99.0),
        "Cluster Contrast": (82.1, 92.3, None, None),
        "SpCL": (73.1, 88.1, None, None),
    },
    "dukemtmc": {
        "DCCC (paper)": (74.0, 85.4, 92.2, 93.9),
        "DCCC* (paper)": (76.9, 87.1, 93.5, 95.2),
        "Cluster Contrast": (72.6, 84.9, None, None),
        "SpCL": (65.3, 81.2, None, None),
    },
    "msmt17": {
        "DCCC (paper)": (31.6, 62.3, 73.4, 77.9),
        "DCCC* (paper)": (44.3, 73.8, 82.5, 85.7),
        "Cluster Contrast": (27.6, 56.0, None, None),
        "SpCL": (19.1, 42.3, None, None),
    },
}


def published_rows(dataset: str, splits: Sequence[SplitSummary]) -> tuple[ResultRow, ...]:
    """Published results for `dataset`, best known first; empty unless the paper measured on these very images.

    Args:
        dataset: Key of the data set; its aliases are understood.
        splits: What the run's data hold. A folder may carry the name of a data set and hold other pictures or a part
            of it: published figures beside such a run would compare what cannot be compared.

    Returns:
        Rows of kind "published" with fractions in [0, 1].
    """
    if dataset not in _PUBLISHED or _counts(splits) != PUBLISHED_IMAGES[dataset]:
        return ()
    return tuple(
        ResultRow(
            name,
            "published",
            {key: round(score / 100, 4) for key, score in zip(_METRICS, scores, strict=True) if score is not None},
        )
        for name, scores in _PUBLISHED[dataset].items()
    )


def published_remark(dataset: str, splits: Sequence[SplitSummary]) -> str | None:
    """Why no published figure stands beside a result on `dataset`; None where one does, or none exists."""
    if dataset not in _PUBLISHED or _counts(splits) == PUBLISHED_IMAGES[dataset]:
        return None
    counts: Mapping[str, int] = _counts(splits)
    found = " / ".join(f"{counts.get(split, 0):,}" for split in PUBLISHED_IMAGES[dataset])
    expected = " / ".join(f"{size:,}" for size in PUBLISHED_IMAGES[dataset].values())
    return (
        f"The published figures for {dataset} are not shown: they were measured on {expected} images"
        f" (train / query / gallery), and this run read {found}."
    )


def _counts(splits: Sequence[SplitSummary]) -> dict[str, int]:
    return {split.split: split.images for split in splits}
