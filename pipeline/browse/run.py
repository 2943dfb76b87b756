"""What the page shows: the images, clusters and network of a finished run or a discovery."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.common.errors import UserError
from pipeline.datasets.names import Names
from pipeline.inference.embedder import Embedder


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run, or a discovery.

    Attributes:
        title: for the page.
        paths: of its N images, of whose identities nothing is read.
        picture: row -> pixels (h, w, 3), uint8.
        camids: (N,), None where cameras are not known.
        labels: (N,) its clusters, -1 for outliers.
        embeddings: (N, D) by `embedder`.
        embedder: its network.
        names: of the cameras.
        following: the command that uses the decisions.
    """

    title: str
    paths: tuple[str, ...]
    picture: Callable[[int], NDArray[np.uint8]] = field(repr=False)
    camids: NDArray[np.int64] | None = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    embeddings: NDArray[np.float32] = field(repr=False)
    embedder: Embedder
    names: Names = field(default_factory=Names)
    following: str = "dvc repro"


def labels_of(table: Path, images: int) -> NDArray[np.int64]:
    """The clusters of clusters.csv, (N,).

    Raises:
        UserError: it is missing, or of other images.
    """
    if not table.is_file():
        raise UserError(f"{table} is missing: run `dvc repro` first")
    labels = pd.read_csv(table)["cluster"].to_numpy(np.int64)
    if len(labels) != images:
        raise UserError(f"{table} is of other images than data/prepared: run `dvc repro`")
    return labels
