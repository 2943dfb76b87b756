"""Models scored on several data sets: what one that learned here is worth there."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.datasets.packed_images import PackedImages
from pipeline.evaluation.candidates import compare
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.test_set import TestSet, why_not_scored
from pipeline.inference.embedder import Embedder
from pipeline.model.saved import data_name_of

COLUMNS = ("model", "trained_on", "backbone", "role", "file", "dataset", "queries", "valid_queries", *METRICS)
Size = tuple[int, int]  # height and width of images


def labels_of(embedders: Sequence[Embedder]) -> list[str]:
    """A name for each model, all different: what it was trained on, and its file's name where that is not enough."""
    trained = [data_name_of(embedder.settings) for embedder in embedders]
    known = [
        name if count == 1 else f"{name} {embedder.path.stem} {embedder.role}"
        for name, embedder, count in zip(trained, embedders, map(Counter(trained).__getitem__, trained), strict=True)
    ]
    numbers: Counter[str] = Counter()
    labels = []
    for name in known:
        numbers[name] += 1
        labels.append(name if numbers[name] == 1 else f"{name} {numbers[name]}")
    return labels


def score_across(
    embedders: Sequence[Embedder],
    folders: Mapping[tuple[str, Size], Path],
    *,
    tell: Callable[[str], object] = lambda line: None,
) -> pd.DataFrame:
    """Scores every model on every data set.

    Args:
        embedders: the models.
        folders: (data set, size of its images) -> prepared folder, for every size that a model takes.
        tell: called with a line before each score.

    Returns:
        One row per model and data set, in their order, with `COLUMNS`: `model` is a label of `labels_of`, the metrics
        are shares in [0, 1].

    Raises:
        UserError: a data set cannot be scored, before any work; its line says why.
    """
    opened = {key: PackedImages(folder) for key, folder in folders.items()}
    for (name, _), packed in opened.items():
        if reason := why_not_scored(packed):
            raise UserError(f"{name} cannot be scored: {reason}; leave it out of --on")
    rows = [row for key, packed in opened.items() for row in _scores(embedders, key, packed, tell)]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {label: number for number, label in enumerate(labels_of(embedders))}
    return found.sort_values("model", key=lambda column: column.map(order), kind="stable").reset_index(drop=True)


def _scores(
    embedders: Sequence[Embedder], key: tuple[str, Size], packed: PackedImages, tell: Callable[[str], object]
) -> Iterator[dict[str, object]]:
    """The rows of one prepared folder."""
    (name, size), test = key, TestSet(packed)
    for label, embedder in zip(labels_of(embedders), embedders, strict=True):
        if embedder.size != size:
            continue
        tell(f"{label} on {name}")
        scored = compare(test, {embedder.role: embedder.embed}).metrics
        settings = embedder.settings
        facts = {"model": label, "trained_on": data_name_of(settings), "backbone": settings["backbone"]}
        facts |= {"role": embedder.role, "file": str(embedder.path), "dataset": name}
        queries = {"queries": int(scored["queries"]["all"]), "valid_queries": int(scored["queries"]["valid"])}
        yield {**facts, **queries, **scored[embedder.role]}
