"""What the page shows and does: clusters, images, decisions and searches of one finished run."""

import io
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.browse.actions import Action, Actions, merged, outliers, parted
from pipeline.browse.clusters import SORTS, Cluster, described, nearest_clusters, replayed, sorted_by
from pipeline.browse.run import Run
from pipeline.common.errors import UserError
from pipeline.datasets.images import UnreadableImageError, read_content
from pipeline.inference.gallery import Gallery

PAGE, SHOWN = 24, 12  # clusters of a page, and images of each that are shown
IMAGES = 120  # of a page of one cluster
FOUND = 24  # places of a search
THUMBNAILS = 4096  # that are kept, some kilobytes each: a discovery decodes whole photographs


class _Shown(NamedTuple):
    """What there is to see after some decisions."""

    actions: list[Action]
    clusters: list[Cluster]
    labels: NDArray[np.int64]  # (N,)
    marked: set[str]  # paths of the outliers that somebody decided on


class Session:
    """One page, for any number of tabs; its functions may be called from several threads.

    Args:
        run: whose clusters are shown.
        actions: what was decided so far, and will be.
    """

    def __init__(self, run: Run, actions: Actions) -> None:
        self.run, self.actions = run, actions
        self._paths = run.paths
        self._rows = {path: row for row, path in enumerate(self._paths)}
        self._gallery = Gallery.of(run.embedder, self._paths, run.embeddings)
        self._lock = threading.Lock()
        self._known: _Shown | None = None
        self._encoded = lru_cache(THUMBNAILS)(self._thumbnail)

    def clusters(self) -> list[Cluster]:
        """The clusters as they are now, by their numbers."""
        return self._now().clusters

    def labels(self) -> NDArray[np.int64]:
        """(N,) the cluster of each image as it is now, -1 for one that is in none."""
        return self._now().labels

    def overview(self, *, sort: str = "doubt", page: int = 0) -> dict[str, Any]:
        """A page of clusters as plain values.

        Raises:
            UserError: the corrections are not understood, or there is no such order.
        """
        if sort not in SORTS:
            raise UserError(f"sort must be one of {', '.join(SORTS)}, got {sort!r}")
        now = self._now()
        page, pages = _page(page, len(now.clusters), PAGE)
        shown = sorted_by(now.clusters, sort)[page * PAGE : (page + 1) * PAGE]
        return {
            "title": self.run.title,
            "clusters": [self._plain(cluster, cluster.rows[:SHOWN]) for cluster in shown],
            "total": len(now.clusters),
            "outliers": int((now.labels < 0).sum()),
            "images": len(self._paths),
            "page": page,
            "pages": pages,
            "decisions": sum(bool(action.name) for action in now.actions),
            "following": self.run.following,
        }

    def cluster(self, number: int, *, page: int = 0) -> dict[str, Any]:
        """One cluster with a page of its images.

        Raises:
            UserError: there is none of this number any more.
        """
        cluster = self._of(number)
        page, pages = _page(page, len(cluster.rows), IMAGES)
        rows = cluster.rows[page * IMAGES : (page + 1) * IMAGES]
        return {**self._plain(cluster, rows), "page": page, "pages": pages}

    def outliers(self, *, page: int = 0) -> dict[str, Any]:
        """A page of the images that are in no cluster, each with the cluster that it is most like.

        Those that are most like theirs come first; those that somebody has `marked` as outliers come last.
        """
        now = self._now()
        rows, nearest, cosines = nearest_clusters(now.labels, self.run.embeddings)
        decided = np.array([self._paths[row] in now.marked for row in rows.tolist()], bool)
        order = np.argsort(decided, kind="stable")
        page, pages = _page(page, len(rows), IMAGES)
        first = {cluster.number: int(cluster.rows[0]) for cluster in now.clusters}
        images = []
        for place in order[page * IMAGES : (page + 1) * IMAGES].tolist():
            number, marked = int(nearest[place]), bool(decided[place])
            like = None
            if number >= 0 and not marked:
                like = {"cluster": number, "row": first[number], "cosine": round(float(cosines[place]), 3)}
            images.append({**self._image(int(rows[place])), "marked": marked, "like": like})
        return {"size": len(rows), "images": images, "page": page, "pages": pages}

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

    def join(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Says that images in no cluster are of clusters: (row, number of the cluster) of each.

        Raises:
            UserError: there is none, or an image or a cluster is not there any more; or it is against a decision.
        """
        with self._lock:
            now = self._now()
            if strangers := [row for row, _ in pairs if not self._is_free(row, now)]:
                raise UserError(f"{len(strangers)} of the marked images are not in no cluster any more")
            if not pairs:
                raise UserError("mark an image or more")
            first = {number: self._paths[self._of(number).rows[0]] for _, number in pairs}
            links = [link for row, number in pairs for link in merged(first[number], self._paths[row])]
            self.actions.add("join", links)

    def mark_outliers(self, number: int | None, rows: Sequence[int]) -> None:
        """Says that images are of nobody in particular.

        Args:
            number: of the cluster that they are in; None for images that are in none.
            rows: of the images.

        Raises:
            UserError: they are not there any more, or there is none; or one is joined with another by a decision.
        """
        with self._lock:
            now = self._now()
            if number is None:
                strangers = {row for row in rows if not self._is_free(row, now)}
            else:
                strangers = set(rows) - set(self._of(number).rows.tolist())
            if strangers:
                where = "in no cluster" if number is None else f"in cluster {number}"
                raise UserError(f"{len(strangers)} of the marked images are not {where} any more")
            self.actions.add("outlier", outliers([self._paths[row] for row in sorted(set(rows))]))

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
        height, width = self.run.embedder.size
        try:
            picture = read_content(content, height=height, width=width)
        except UnreadableImageError as reason:
            raise UserError(f"this is no picture that can be read: {reason}") from reason
        labels = self._now().labels
        found = []
        for hit in self._gallery.search(picture, top=FOUND)[0]:
            row = self._rows[hit.name]
            cluster = int(labels[row])
            more = {
                "cosine": round(hit.cosine, 3),
                "verdict": hit.verdict,
                "cluster": cluster if cluster >= 0 else None,
            }
            found.append({**self._image(row), **more})
        return found

    def thumbnail(self, row: int) -> bytes:
        """The image as JPEG.

        Raises:
            UserError: there is no such image.
        """
        if not 0 <= row < len(self._paths):
            raise UserError(f"there is no image {row}")
        return self._encoded(row)

    def _thumbnail(self, row: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.run.picture(row)).save(buffer, format="JPEG", quality=88)
        return buffer.getvalue()

    def _now(self) -> _Shown:
        actions = self.actions.all()
        known = self._known
        if known is None or known.actions != actions:
            labels = replayed(self.run.labels, self._paths, actions)
            clusters = described(labels, self.run.embeddings, self.run.camids)
            marked = {link.path_a for action in actions for link in action.links if link.kind == "outlier"}
            self._known = known = _Shown(actions, clusters, labels, marked)
        return known

    def _is_free(self, row: int, now: _Shown) -> bool:
        """Whether an image is in no cluster, and nobody has decided that it stays there."""
        return 0 <= row < len(self._paths) and now.labels[row] < 0 and self._paths[row] not in now.marked

    def _of(self, number: int) -> Cluster:
        for cluster in self._now().clusters:
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
        camids = self.run.camids
        camera = None if camids is None else str(self.run.names.camera(int(camids[row])))
        return {"row": row, "path": self._paths[row], "camera": camera}


def _page(page: int, number: int, most: int) -> tuple[int, int]:
    """A page that there is, and how many there are."""
    pages = max(1, -(-number // most))
    return min(max(page, 0), pages - 1), pages
