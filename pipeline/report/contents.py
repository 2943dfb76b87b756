"""What a report is made of: plain values, gathered by the stage and drawn by `write_report`.

Scores are fractions in [0, 1] everywhere in here; only the page and the figures turn them into percent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

Kind = Literal["result", "best-of-run", "baseline", "published"]
Verdict = Literal["right", "wrong", "distractor"]
SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class ResultRow:
    """One line of the result table; scores are fractions in [0, 1], None where they are not known.

    The first row of kind "result" is the headline, and the first of kind "baseline" (the untrained network) is what the
    headline is compared with.
    """

    name: str
    kind: Kind
    mean_ap: float | None = None
    rank1: float | None = None
    rank5: float | None = None
    rank10: float | None = None
    mean_inp: float | None = None

    def __post_init__(self) -> None:
        assert self.kind in get_args(Kind), f"unknown kind of result {self.kind!r} ({self.name})"
        for name in ("mean_ap", "rank1", "rank5", "rank10", "mean_inp"):
            score = getattr(self, name)
            assert score is None or (math.isfinite(score) and 0.0 <= score <= 1.0), (
                f"{name} of {self.name!r} must be a fraction in [0, 1], got {score}"
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
    """One place of a ranked list: the picture (H, W, 3) uint8, what it is, and its cosine with the query."""

    image: np.ndarray
    verdict: Verdict
    pid: int | None = None
    camid: int | None = None
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
    query_pid: int | None = None
    query_camid: int | None = None
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


@dataclass(frozen=True, eq=False)
class ConfusedPair:
    """Two identities that the network takes for each other.

    Attributes:
        identity, other: the two of them.
        count: How often an image of one stood above a right match of the other.
        examples: (image of `identity`, image of `other`, their cosine); images are (H, W, 3) uint8.
    """

    identity: int
    other: int
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
        pictures: Row -> (H, W, 3) uint8, of the rows that are shown; their places on the map do not overlap.
    """

    points: np.ndarray
    labels: np.ndarray
    alone: np.ndarray
    groups: Literal["identity", "cluster"]
    pictures: Mapping[int, np.ndarray]

    def __post_init__(self) -> None:
        assert self.points.shape == (len(self.labels), 2) and self.alone.shape == self.labels.shape
        assert len(self.points) > 0 and np.abs(self.points).max() <= 1
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
        results: Lines of the result table in any order; they are grouped by kind, and keep their order in it.
        history: One row an epoch. `epoch` is required; drawn where present are `eps`, `learning_rate`,
            `num_clusters`, `num_outliers`, `loss`, `loss_hard`, `loss_soft`, `student_map`, `teacher_map` (NaN
            where not evaluated), `ari`, `nmi`, `purity`, `pairwise_precision`, `pairwise_recall`, `pairwise_f`,
            `distance_within`, `distance_between`, `seconds_<part>`. All columns that `wording.HISTORY_COLUMNS` names
            are in the table of epochs.
        cmc: Name -> (R,) fractions; the entry at r is the share of queries with a match in the first r + 1 places.
        ranked_lists: Queries with their ranked gallery images; consecutive lists of one group share a heading.
        camera_pairs: As `retrieval.diagnostics.camera_pairs` returns it; None or empty where there are no cameras.
        confused: Pairs of identities that the network takes for each other, the most confused first.
        embedding: Test images (or training images by cluster) on a plane.
        clusters: Clusters of the training images by the final network, with some of their pictures; outliers last.
        num_queries, num_valid_queries: All queries, and those with a valid match (the others are left out).
        uses_cameras: Whether the evaluation removed the query's own camera.
        notes: Sentences to print under the results.
        provenance: What finds this run again: revision, digest of the data, seed, machine, duration, ...
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
    camera_pairs: pd.DataFrame | None = None
    confused: tuple[ConfusedPair, ...] = ()
    embedding: EmbeddingMap | None = None
    clusters: tuple[ClusterSample, ...] = ()
    num_queries: int = 0
    num_valid_queries: int = 0
    uses_cameras: bool = True
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert "epoch" in self.history.columns, "the history needs a column 'epoch'"
        assert 0 <= self.num_valid_queries <= self.num_queries, "more valid queries than queries"
        for name, curve in self.cmc.items():
            shares = np.asarray(curve, dtype=float)
            assert shares.ndim == 1 and shares.size > 0, f"CMC curve {name!r} must have shape (R,), R > 0"
            assert ((shares >= 0) & (shares <= 1)).all(), f"CMC curve {name!r} must hold fractions in [0, 1]"

    def first(self, kind: Kind) -> ResultRow | None:
        """The first row of `kind`, None where there is none."""
        return next((row for row in self.results if row.kind == kind), None)

    def split(self, name: str) -> SplitSummary | None:
        """The summary of the split `name`, None where there is none."""
        return next((split for split in self.splits if split.split == name), None)


def summarise_splits(catalogue: pd.DataFrame) -> tuple[SplitSummary, ...]:
    """Counts images, identities and cameras by split.

    Args:
        catalogue: One row an image, columns `pid`, `camid` (both nullable) and `split`. Pid 0 is a distractor:
            counted as an image, not as an identity.

    Returns:
        One summary for each split that has an image, in the order train, query, gallery.
    """
    summaries = []
    for name in SPLITS:
        rows = catalogue[catalogue["split"] == name]
        if rows.empty:
            continue
        pids = rows["pid"].dropna()
        cameras = rows["camid"].dropna()
        summaries.append(
            SplitSummary(
                split=name,
                images=len(rows),
                identities=int(pids[pids > 0].nunique()) if len(pids) else None,
                cameras=int(cameras.nunique()) if len(cameras) else None,
                distractors=int((pids == 0).sum()),
            )
        )
    return tuple(summaries)


def _assert_picture(image: np.ndarray) -> None:
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, (
        f"a picture must be (H, W, 3) uint8, got {image.shape} {image.dtype}"
    )
