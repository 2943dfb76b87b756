"""What the page shows and does: clusters, images, decisions and searches of one finished run."""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.browse.actions import Actions, merged, parted
from pipeline.browse.clusters import SORTS, Cluster, described, replayed, sorted_by
from pipeline.common.errors import UserError
from pipeline.datasets.images import FORMATS
from pipeline.datasets.names import Names
from pipeline.datasets.packed_images import LabelledImages
from pipeline.inference.embedder import Embedder
from pipeline.inference.gallery import Gallery

PAGE, SHOWN = 24, 12  # clusters of a page, and images of each that are shown
IMAGES = 120  # of a page of one cluster
FOUND = 24  # places of a search


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        title: for the page.
        train: its training images, of whose identities nothing is read.
        labels: (N,) its clusters, -1 for outliers.
        embeddings: (N, D) by `embedder`.
        embedder: its network.
        names: of the cameras.
    """

    title: str
    train: LabelledImages
    labels: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    embedder: Embedder
    names: Names


class Session:
    """One page, for any number of tabs; its functions may be called from several threads.

    Args:
        run: whose clusters are shown.
        actions: what was decided so far, and will be.
    """

    def __init__(self, run: Run, actions: Actions) -> None:
        self.run, self.actions = run, actions
        self._paths = run.train.paths
        self._rows = {path: row for row, path in enumerate(self._paths)}
        self._gallery = Gallery.of(run.embedder, self._paths, run.embeddings)
        self._lock = threading.Lock()
        self._known: tuple[Any, list[Cluster], int] | None = None

    def overview(self, *, sort: str = "doubt", page: int = 0) -> dict[str, Any]:
        """A page of clusters as plain values.

        Raises:
            UserError: the corrections are not understood, or there is no such order.
        """
        if sort not in SORTS:
            raise UserError(f"sort must be one of {', '.join(SORTS)}, got {sort!r}")
        clusters, outliers = self._clusters()
        pages = max(1, -(-len(clusters) // PAGE))
        page = min(max(page, 0), pages - 1)
        shown = sorted_by(clusters, sort)[page * PAGE : (page + 1) * PAGE]
        return {
            "title": self.run.title,
            "clusters": [self._plain(cluster, cluster.rows[:SHOWN]) for cluster in shown],
            "total": len(clusters),
            "outliers": outliers,
            "images": len(self._paths),
            "page": page,
            "pages": pages,
            "decisions": sum(bool(action.name) for action in self.actions.all()),
        }

    def cluster(self, number: int, *, page: int = 0) -> dict[str, Any]:
        """One cluster with a page of its images.

        Raises:
            UserError: there is none of this number any more.
        """
        cluster = self._of(number)
        pages = max(1, -(-len(cluster.rows) // IMAGES))
        page = min(max(page, 0), pages - 1)
        rows = cluster.rows[page * IMAGES : (page + 1) * IMAGES]
        return {**self._plain(cluster, rows), "page": page, "pages": pages}

    def merge(self, numbers: Sequence[int]) -> None:
        """Says that clusters are one.

        Raises:
            UserError: there are not two of them, or one is not there any more.
        """
        with self._lock:
            clusters = [self._of(number) for number in dict.fromkeys(numbers)]
            if len(clusters) < 2:
                raise UserError("select two clusters or more")
            first, *others = (self._paths[cluster.rows[0]] for cluster in clusters)
            self.actions.add("merge", [link for other in others for link in merged(first, other)])

    def split(self, number: int, rows: Sequence[int]) -> None:
        """Says that some images of a cluster are another individual.

        Raises:
            UserError: they are not of it, or nothing or everything is marked.
        """
        with self._lock:
            inside = self._of(number).rows.tolist()
            if strangers := set(rows) - set(inside):
                raise UserError(f"{len(strangers)} of the marked images are not in cluster {number} any more")
            marked = [self._paths[row] for row in inside if row in set(rows)]
            self.actions.add("split", parted(marked, [self._paths[row] for row in inside if row not in set(rows)]))

    def undo(self) -> None:
        """Takes the last decision back.

        Raises:
            UserError: there is none.
        """
        with self._lock:
            if not self.actions.undo():
                raise UserError("there is nothing to undo")

    def search(self, content: bytes) -> list[dict[str, Any]]:
        """The images that are most like a picture, the most similar first.

        Raises:
            UserError: it is no picture.
        """
        try:
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        except Exception as error:  # Pillow raises what it likes
            raise UserError("this is no picture that can be read") from error
        now = {row: cluster.number for cluster in self._clusters()[0] for row in cluster.rows.tolist()}
        hits = self._gallery.search(picture, top=FOUND)[0]
        rows = [self._rows[hit.name] for hit in hits]
        return [
            {**self._image(row), "cosine": round(hit.cosine, 3), "verdict": hit.verdict, "cluster": now.get(row)}
            for row, hit in zip(rows, hits, strict=True)
        ]

    def thumbnail(self, row: int) -> bytes:
        """The image as JPEG.

        Raises:
            UserError: there is no such image.
        """
        if not 0 <= row < len(self._paths):
            raise UserError(f"there is no image {row}")
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.run.train.images[row])).save(buffer, format="JPEG", quality=88)
        return buffer.getvalue()

    def _clusters(self) -> tuple[list[Cluster], int]:
        """The clusters as they are now, and how many images are in none."""
        actions = self.actions.all()
        if self._known is None or self._known[0] != actions:
            now = replayed(self.run.labels, self._paths, actions)
            found = described(now, self.run.embeddings, self.run.train.camids)
            self._known = actions, found, int((now < 0).sum())
        return self._known[1], self._known[2]

    def _of(self, number: int) -> Cluster:
        for cluster in self._clusters()[0]:
            if cluster.number == number:
                return cluster
        raise UserError(f"there is no cluster {number} any more: somebody changed it")

    def _plain(self, cluster: Cluster, rows: NDArray[np.int64]) -> dict[str, Any]:
        return {
            "number": cluster.number,
            "size": len(cluster.rows),
            "cameras": cluster.cameras,
            "spread": round(cluster.spread, 3),
            "nearest": cluster.nearest,
            "gap": None if cluster.gap is None else round(cluster.gap, 3),
            "images": [self._image(row) for row in rows.tolist()],
        }

    def _image(self, row: int) -> dict[str, Any]:
        camids = self.run.train.camids
        camera = None if camids is None else str(self.run.names.camera(int(camids[row])))
        return {"row": row, "path": self._paths[row], "camera": camera}


def labels_of(table: Path, train: LabelledImages) -> NDArray[np.int64]:
    """The clusters of clusters.csv, (N,).

    Raises:
        UserError: it is missing, or of other images.
    """
    if not table.is_file():
        raise UserError(f"{table} is missing: run `dvc repro` first")
    labels = pd.read_csv(table)["cluster"].to_numpy(np.int64)
    if len(labels) != len(train):
        raise UserError(f"{table} is of other images than data/prepared: run `dvc repro`")
    return labels
