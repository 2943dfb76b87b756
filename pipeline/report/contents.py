"""What a report shows: plain values, read by `read_report` and drawn by `write_report`.

Scores are fractions in [0, 1] everywhere in here; only the page and the figures turn them into percent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pipeline.datasets.names import Names
from pipeline.evaluation.metrics import MAIN
from pipeline.report.cluster_verdict import ClusterVerdict

Kind = Literal["result", "members", "tracklets", "best-of-run", "baseline", "published"]
Verdict = Literal["right", "wrong", "distractor"]


@dataclass(frozen=True)
class ResultRow:
    """One row of the result table.

    The first row of kind "result" is the headline, and the first of kind "baseline" (the untrained network) is what the
    headline is compared with.

    Attributes:
        name: Of the network.
        kind: The group of rows that it stands in.
        scores: Key of a metric -> fraction in [0, 1]; metrics that are not known are absent.
    """

    name: str
    kind: Kind
    scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.kind in get_args(Kind), f"unknown kind of result {self.kind!r} ({self.name})"
        for metric, score in self.scores.items():
            assert math.isfinite(score) and 0.0 <= score <= 1.0, (
                f"{metric} of {self.name!r} must be a fraction in [0, 1], got {score}"
            )


@dataclass(frozen=True)
class SplitSummary:
    """How much one split holds; `identities` and `cameras` are None where the data set does not name them."""

    split: str
    images: int
    identities: int | None
    cameras: int | None
    distractors: int = 0


@dataclass(frozen=True, eq=False)
class RankedImage:
    """One place of a ranked list: the image (H, W, 3) uint8, whether it matches, and its cosine with the query."""

    image: np.ndarray
    verdict: Verdict
    pid: int | str | None = None
    camid: int | str | None = None
    similarity: float | None = None

    def __post_init__(self) -> None:
        assert self.verdict in get_args(Verdict), f"unknown verdict {self.verdict!r}"
        _assert_picture(self.image)


@dataclass(frozen=True, eq=False)
class RankedList:
    """One query (H, W, 3) uint8 and the best-ranked gallery images, best first.

    `group` says why the query is shown ("best", "median", "worst"), `average_precision` is in [0, 1].
    """

    query_image: np.ndarray
    entries: tuple[RankedImage, ...]
    query_pid: int | str | None = None
    query_camid: int | str | None = None
    average_precision: float | None = None
    group: str = ""

    def __post_init__(self) -> None:
        _assert_picture(self.query_image)


@dataclass(frozen=True, eq=False)
class ClusterSample:
    """A cluster of training images and some of its pictures (H, W, 3) uint8; `number` None stands for the outliers."""

    number: int | None
    size: int
    images: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        assert 0 < len(self.images) <= self.size
        for image in self.images:
            _assert_picture(image)


@dataclass(frozen=True)
class ClusterCount:
    """How the result, the last student, groups the training images: so many clusters, and outliers in none."""

    clusters: int
    outliers: int


@dataclass(frozen=True, eq=False)
class ConfusedPair:
    """Two identities that the network confuses.

    Attributes:
        identity, other: The two identities, by name where they have one.
        count: How often an image of one was ranked above a correct match of the other.
        examples: (image of `identity`, image of `other`, their cosine); images are (H, W, 3) uint8.
    """

    identity: int | str
    other: int | str
    count: int
    examples: tuple[tuple[np.ndarray, np.ndarray, float], ...]

    def __post_init__(self) -> None:
        assert self.identity != self.other and self.count > 0 and self.examples
        for image, other, _ in self.examples:
            _assert_picture(image)
            _assert_picture(other)


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """N images on a plane, and the pictures of some of them.

    Attributes:
        points: (N, 2) in [-1, 1].
        labels: (N,) identity or cluster.
        alone: (N,) bool, images of nobody in particular, or of no cluster.
        groups: What a label is: "identity" or "cluster".
        total: Number of images that the N were chosen from.
        pictures: Row -> (H, W, 3) uint8, of the rows that are shown; their places on the map do not overlap.
    """

    points: np.ndarray
    labels: np.ndarray
    alone: np.ndarray
    groups: Literal["identity", "cluster"]
    pictures: Mapping[int, np.ndarray]
    total: int

    def __post_init__(self) -> None:
        assert self.points.shape == (len(self.labels), 2) and self.alone.shape == self.labels.shape
        assert 0 < len(self.points) <= self.total and np.abs(self.points).max() <= 1
        for image in self.pictures.values():
            _assert_picture(image)


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that a report shows.

    Attributes:
        title: The run's name, the page's heading.
        dataset: Key of the data set ("synthetic", "market1501", ...).
        backbone, method: Names of the network and of the training method.
        settings: Resolved settings, nested mappings of plain values.
        splits: How much each split holds.
        results: Rows of the result table in any order; they are grouped by kind and keep their order within it.
        history: training.csv, one row per epoch in ascending order. `epoch` is required; each figure and the table of
            epochs take the other columns that they know where these hold any value.
        cmc: Name -> (R,) fractions; the entry at r is the share of queries with a match in the first r + 1 places.
        ranked_lists: Queries with their ranked gallery images; consecutive lists of one group share a heading.
        tables: Name -> table of the evaluation (data/evaluation/<name>.csv), for the figures that draw one.
        confused: Pairs of identities that the network confuses, the most confused first.
        embedding: Test images (or training images by cluster) on a plane.
        clusters: Clusters of the training images by the last student, with some of their pictures; outliers last.
        cluster_count: How many there are; None where it is not known.
        num_queries, num_valid_queries: All queries, and those with a valid match (the others are left out).
        uses_cameras: Whether the evaluation removed the query's own camera.
        notes: Sentences to print under the results.
        verdict: On the clusters of the last epoch, without labels; None where too little is known.
        names: Of identities and cameras, for the figures; the parts above hold them already.
        made: When, how long, from which code and on what it was trained, for one line.
        provenance: Where this run comes from: seed, digest of the data, MLflow run, ...
        data_name: What people call the data set, where that is not its key.
    """

    title: str
    dataset: str
    backbone: str
    method: str
    settings: Mapping[str, Any]
    splits: tuple[SplitSummary, ...]
    history: pd.DataFrame
    results: tuple[ResultRow, ...] = ()
    cmc: Mapping[str, ArrayLike] = field(default_factory=dict)
    ranked_lists: tuple[RankedList, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    confused: tuple[ConfusedPair, ...] = ()
    embedding: EmbeddingMap | None = None
    clusters: tuple[ClusterSample, ...] = ()
    cluster_count: ClusterCount | None = None
    num_queries: int = 0
    num_valid_queries: int = 0
    uses_cameras: bool = True
    notes: tuple[str, ...] = ()
    verdict: ClusterVerdict | None = None
    names: Names = field(default_factory=Names)
    made: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    data_name: str = ""

    def __post_init__(self) -> None:
        assert "epoch" in self.history.columns, "the history needs a column 'epoch'"
        assert self.history["epoch"].is_monotonic_increasing, "the epochs must be in ascending order"
        assert 0 <= self.num_valid_queries <= self.num_queries, "more valid queries than queries"
        for name, curve in self.cmc.items():
            shares = np.asarray(curve, dtype=float)
            assert shares.ndim == 1 and shares.size > 0, f"CMC curve {name!r} must have shape (R,), R > 0"
            assert ((shares >= 0) & (shares <= 1)).all(), f"CMC curve {name!r} must hold fractions in [0, 1]"

    @property
    def shown_dataset(self) -> str:
        """What the page calls the data set."""
        return self.data_name or self.dataset

    @property
    def baselines(self) -> dict[str, float]:
        """Name -> the main metric (mAP) of what was not trained on these images."""
        return {
            row.name: row.scores[MAIN.key] for row in self.results if row.kind == "baseline" and MAIN.key in row.scores
        }

    @property
    def num_train_images(self) -> int | None:
        """Number of training images, None if not known."""
        train = self.split("train")
        return None if train is None else train.images

    @property
    def num_train_identities(self) -> int | None:
        """Number of identities on the training images, None if not known."""
        train = self.split("train")
        return None if train is None else train.identities

    @property
    def last_epoch(self) -> int | None:
        """Number of the last epoch, None where nothing was trained."""
        return None if self.history.empty else int(self.history["epoch"].iloc[-1])

    def first(self, kind: Kind) -> ResultRow | None:
        """The first row of `kind`, None where there is none."""
        return next((row for row in self.results if row.kind == kind), None)

    def split(self, name: str) -> SplitSummary | None:
        """The summary of the split `name`, None where there is none."""
        return next((split for split in self.splits if split.split == name), None)


def _assert_picture(image: np.ndarray) -> None:
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, (
        f"a picture must be (H, W, 3) uint8, got {image.shape} {image.dtype}"
    )
