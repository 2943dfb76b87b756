"""The images that the user searches for, and what a gallery answers.

Q: queries · D: width of an embedding.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.progress import Progress
from pipeline.common.text import one_line, some
from pipeline.datasets.image_tree import image_tree
from pipeline.datasets.images import UnreadableImageError, read_image
from pipeline.evaluation.ranking import checked_features
from pipeline.inference.embedder import Embedder
from pipeline.inference.ranking import rank_gallery
from pipeline.model.thresholds import Thresholds, Verdict
from pipeline.search.gallery import Gallery

_AT_ONCE = 1024  # decoded images in memory
_NUM_SHOWN = 5


@dataclass(frozen=True)
class Queries:
    """Images to search for.

    Attributes:
        names: Q paths, as they were given or below the folders that were given.
        places: Q files, symbolic links followed.
        embeddings: (Q, D) float32.
        bad: (path, reason) of the images that cannot be read; they are not among `names`.
    """

    names: tuple[str, ...]
    places: tuple[str, ...]
    embeddings: np.ndarray
    bad: tuple[tuple[str, str], ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line each, of what the user should know."""
        return (f"left out: {_unreadable(self.bad, len(self.names) + len(self.bad))}",) if self.bad else ()


@dataclass(frozen=True)
class Hit:
    """One place of a list.

    Attributes:
        path: relative to the gallery.
        place: the file.
        similarity: its cosine with the query.
        verdict: whether it shows the query's individual; None where the model carries no thresholds.
    """

    path: str
    place: str
    similarity: float
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Found:
    """The list of one query.

    Attributes:
        query: its path, as in `Queries.names`.
        place: its file.
        own: paths in the gallery that lead to the query's own file, which are left out of the list.
        hits: the most similar images, best first.
    """

    query: str
    place: str
    own: tuple[str, ...]
    hits: tuple[Hit, ...]

    @property
    def is_stranger(self) -> bool:
        """Whether even the first hit shows another individual: the query's is not in the gallery."""
        return bool(self.hits) and self.hits[0].verdict == "different"


def open_queries(paths: Sequence[Path], embedder: Embedder, *, skip_bad: bool = False) -> Queries:
    """Embeds images, resized as `prepare` does it; shows progress.

    Args:
        paths: image files, or folders of images at any depth. A file that is named twice counts once.
        embedder: turns images into embeddings.
        skip_bad: leave images that cannot be read out, instead of stopping.

    Raises:
        UserError: there is no such file, no image in a folder, images cannot be read, or the model's output is broken.
    """
    names = _listed(paths)
    height, width = embedder.size
    kept: list[str] = []
    bad: list[tuple[str, str]] = []
    parts = []
    for start in range(0, len(names), _AT_ONCE):
        some_names = names[start : start + _AT_ONCE]
        images = []
        with Progress("decoding the queries", len(some_names), unit="image") as progress:
            for name in some_names:
                try:
                    images.append(read_image(Path(name), height=height, width=width))
                    kept.append(name)
                except UnreadableImageError as reason:
                    bad.append((name, str(reason)))
                progress.advance()
        if images:
            found = embedder.embed(np.stack(images), "embedding the queries")
            parts.append(checked_features(found, "the embeddings of the queries")[0])
    if bad and (not skip_bad or not parts):
        advice = " (--skip-bad leaves them out)" if parts else ""
        raise UserError(f"{_unreadable(bad, len(names))}{advice}")
    places = tuple(os.path.realpath(name) for name in kept)
    return Queries(tuple(kept), places, np.concatenate(parts), tuple(bad))


def search_gallery(
    queries: Queries, gallery: Gallery, *, top: int, thresholds: Thresholds | None = None
) -> list[Found]:
    """The `top` images of the gallery that are most like each query; its own file is left out.

    Args:
        queries, gallery: embedded by the same model.
        top: places of a list.
        thresholds: of that model, for the verdicts.

    Raises:
        UserError: see `rank_gallery` and `Gallery.parts`.
    """
    at: dict[str, list[int]] = {place: [] for place in queries.places}
    for index, place in enumerate(gallery.places):
        if place in at:
            at[place].append(index)
    own = [at[place] for place in queries.places]
    top = min(top, len(gallery.names)) if top > 0 else top
    ranking = rank_gallery(queries.embeddings, gallery.parts(), top=top, left_out=own)
    lists = []
    for number, (indices, similarities) in enumerate(zip(*ranking, strict=True)):
        hits = (
            Hit(
                gallery.names[index],
                gallery.places[index],
                float(similarity),
                None if thresholds is None else thresholds.verdict(float(similarity)),
            )
            for index, similarity in zip(indices, similarities, strict=True)
            if index >= 0
        )
        same = tuple(gallery.names[index] for index in own[number])
        lists.append(Found(queries.names[number], queries.places[number], same, tuple(hits)))
    return lists


def _listed(paths: Sequence[Path]) -> list[str]:
    """The image files that `paths` name, each once."""
    names: dict[str, str] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no such query: {one_line(path)}")
        inside = [path]
        if path.is_dir():
            inside = [path / name for name in image_tree(path).images]
            if not inside:
                raise UserError(f"there is no image to search for in {one_line(path)}")
        for file in inside:
            names.setdefault(os.path.realpath(file), str(file))
    return list(names.values())


def _unreadable(bad: Sequence[tuple[str, str]], total: int) -> str:
    reasons = some((f"{one_line(name)} ({reason})" for name, reason in bad), shown=_NUM_SHOWN)
    return f"{len(bad):,} of {total:,} queries cannot be read: {reasons}"
