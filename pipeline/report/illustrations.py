"""The tables of the evaluation with their images: ranked lists, confused identities, clusters, the map.

All functions read only the rows of `images` that are shown, so a memory map will do.
N: images in the catalogue, H x W: size of an image.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets.names import Names
from pipeline.report.contents import ClusterSample, ConfusedPair, EmbeddingMap, RankedImage, RankedList

MAP_THUMBNAIL = 0.062  # width of an image on the map, which is 2 wide
_MAP_IMAGES = 160
_NO_NAMES = Names()


def illustrate_ranked_lists(
    table: pd.DataFrame, *, catalogue: pd.DataFrame, images: np.ndarray, names: Names = _NO_NAMES
) -> tuple[RankedList, ...]:
    """Adds images, identities and cameras to the ranked lists.

    Args:
        table: As `pipeline.evaluation.ranked_lists.rank_queries` returns it, or read back from its CSV file.
        catalogue: One row per image in the order of `images`, columns `pid`, `camid`, `split`.
        images: (N, H, W, 3) uint8.
        names: Of identities and cameras, shown in place of their numbers.
    """
    rows = _rows_by_split(catalogue)
    pids, camids = list(catalogue["pid"]), list(catalogue["camid"])
    lists = []
    for _, places in table.groupby(["group", "query"], sort=False):
        first = places.iloc[0]
        query = int(rows["query"][int(first["query"])])
        entries = []
        for place in places.sort_values("rank").to_dict(orient="records"):
            row = int(rows["gallery"][int(place["gallery"])])
            entries.append(
                RankedImage(
                    image=np.array(images[row]),
                    verdict=place["verdict"],
                    pid=_known(pids[row], names.identity),
                    camid=_known(camids[row], names.camera),
                    similarity=float(place["similarity"]),
                )
            )
        lists.append(
            RankedList(
                query_image=np.array(images[query]),
                entries=tuple(entries),
                query_pid=_known(pids[query], names.identity),
                query_camid=_known(camids[query], names.camera),
                average_precision=float(first["average_precision"]),
                group=str(first["group"]),
            )
        )
    return tuple(lists)


def illustrate_confused_pairs(
    table: pd.DataFrame, *, catalogue: pd.DataFrame, images: np.ndarray, names: Names = _NO_NAMES
) -> tuple[ConfusedPair, ...]:
    """Adds the images to the most confused identities.

    Args:
        table: As `pipeline.evaluation.diagnostics` makes `confused_pairs`, or read back from its CSV file.
        catalogue: One row per image in the order of `images`, columns `pid`, `split`.
        images: (N, H, W, 3) uint8.
        names: Of identities and cameras, shown in place of their numbers.
    """
    rows = _rows_by_split(catalogue)
    pids = catalogue["pid"].tolist()
    pairs = []
    for _, found in table.groupby(["identity", "other"], sort=False):
        identity, other = int(found["identity"].iloc[0]), int(found["other"].iloc[0])
        examples = []
        for example in found.to_dict(orient="records"):
            shown = [int(rows[split][int(example[split])]) for split in ("query", "gallery")]
            first, second = sorted(shown, key=lambda row: pids[row] != identity)
            examples.append((np.array(images[first]), np.array(images[second]), float(example["similarity"])))
        shown_names = names.identity(identity), names.identity(other)
        pairs.append(ConfusedPair(*shown_names, int(found["count"].iloc[0]), tuple(examples)))
    return tuple(pairs)


def sample_clusters(
    table: pd.DataFrame, *, images: np.ndarray, clusters: int = 24, length: int = 10
) -> tuple[ClusterSample, ...]:
    """Picks clusters of all sizes and images from all over each of them; outliers come last.

    Args:
        table: As `pipeline.clustering.cluster_table` returns it: N rows, column `cluster`, numbered by size.
        images: (N, H, W, 3) uint8, in the order of the table.
        clusters: Number of clusters at most, evenly spread over the sizes.
        length: Number of images per cluster at most, evenly spread over its rows.
    """
    assert len(table) == len(images), f"{len(table)} rows, {len(images)} images"
    labels = table["cluster"].to_numpy()
    num_clusters = int(labels.max(initial=-1)) + 1
    chosen = [int(label) for label in _evenly_spread(num_clusters, clusters)]
    samples = []
    for label in [*chosen, -1]:
        rows = np.flatnonzero(labels == label)
        if len(rows):
            shown = rows[_evenly_spread(len(rows), length)]
            pictures = tuple(np.array(images[row]) for row in shown)
            samples.append(ClusterSample(None if label < 0 else label, len(rows), pictures))
    return tuple(samples)


def illustrate_map(table: pd.DataFrame, *, catalogue: pd.DataFrame, images: np.ndarray) -> EmbeddingMap | None:
    """The map that `evaluate` computed, with the images that fit on it; None if it has no points.

    Args:
        table: As `pipeline.evaluation.diagnostics` makes `map`, or read back from its CSV file.
        catalogue: One row per image in the order of `images`, column `split`.
        images: (N, H, W, 3) uint8.
    """
    if table.empty:
        return None
    rows = _rows_by_split(catalogue)
    places = [int(rows[split][image]) for split, image in zip(table["split"], table["image"], strict=True)]
    points, labels = table[["x", "y"]].to_numpy(float), table["label"].to_numpy(int)
    of_clusters = bool((table["split"] == "train").all())
    height = MAP_THUMBNAIL * images.shape[1] / images.shape[2]
    shown = non_overlapping(points, width=MAP_THUMBNAIL, height=height, most=_MAP_IMAGES)
    return EmbeddingMap(
        points=points,
        labels=labels,
        alone=labels < 0 if of_clusters else labels == 0,
        groups="cluster" if of_clusters else "identity",
        total=sum(len(rows.get(split, ())) for split in (("train",) if of_clusters else ("query", "gallery"))),
        pictures={int(row): np.array(images[places[row]]) for row in shown},
    )


def non_overlapping(points: np.ndarray, *, width: float, height: float, most: int, seed: int = 0) -> np.ndarray:
    """Rows of at most `most` points (N, 2), in random order, around which rectangles of that size do not overlap."""
    chosen: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(points)):
        distance = np.abs(points[chosen] - points[row])
        if len(chosen) < most and ((distance[:, 0] >= width) | (distance[:, 1] >= height)).all():
            chosen.append(int(row))
    return np.array(chosen, dtype=np.int64)


def _rows_by_split(catalogue: pd.DataFrame) -> dict[str, np.ndarray]:
    return {split: np.flatnonzero((catalogue["split"] == split).to_numpy()) for split in catalogue["split"].unique()}


def _evenly_spread(number: int, most: int) -> np.ndarray:
    """Positions in `number` places: all, or `most` of them, evenly spread, the first and the last among them."""
    if number <= most:
        return np.arange(number)
    return np.linspace(0, number - 1, most).round().astype(np.int64)


def _known(value: Any, name: Callable[[int], int | str]) -> int | str | None:
    return None if pd.isna(value) else name(int(value))
