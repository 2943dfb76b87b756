"""A folder of crops as embeddings that are computed once, and kept for the next search.

An embedding is known by the model's digest and role, the folder, and the image's path, size and times. So only new and
changed images are embedded again, and what is gone is forgotten. Among the times is that of the last change of the
file's entry (ctime), which no program sets: an image that is replaced by another of the same size, and given the old
time, is noticed without reading it. Images are decoded and resized as `prepare` does it. Work is kept as it is done: an
interrupted search goes on where it was.
M: images of the gallery · D: width of an embedding.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from pipeline.common.disk_space import require_room, told_if_full
from pipeline.common.errors import UserError
from pipeline.common.progress import Progress
from pipeline.common.text import one_line, some
from pipeline.datasets.image_tree import IMAGE_SUFFIXES, image_tree
from pipeline.datasets.images import UnreadableImageError, locate
from pipeline.datasets.packing import pack_images
from pipeline.evaluation.ranking import checked_features
from pipeline.inference.embedder import Embedder
from pipeline.preparation.links import CORRECTIONS
from pipeline.search.shards import SHARD, Part, Shard, open_shards, parts_of, rows_of, tidied, write_shard

PACKED = 4 * SHARD  # images that lie decoded on the disk at a time: several processes decode them
_FORMAT = 1  # raise it when the same image would be embedded differently
_NUM_SHOWN = 5


@dataclass(frozen=True)
class Gallery:
    """A folder of images whose embeddings are on disk.

    Attributes:
        folder: as it was named.
        names: M paths relative to it, sorted.
        places: M files, symbolic links followed.
        bad: (path, reason) of the images that cannot be read; they are not among `names`.
        embedded: how many images were embedded just now; the others were known.
        damaged: files of the index that were damaged; what they held was embedded again.
        others: files of the folder that are neither named like images nor corrections.
    """

    folder: Path
    names: tuple[str, ...]
    places: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]
    embedded: int
    damaged: tuple[Path, ...]
    others: tuple[str, ...]
    _parts: tuple[Part, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line each, of what the user should know."""
        lines = []
        if self.damaged:
            where = f"{len(self.damaged)} files in {self.damaged[0].parent}"
            lines.append(f"the index was damaged ({where}): what they held was embedded again")
        if self.others:
            names = some(map(one_line, self.others), shown=_NUM_SHOWN)
            lines.append(f"{one_line(self.folder)}: {len(self.others):,} left out, not being images: {names}")
        if self.bad:
            lines.append(f"left out: {unreadable(self.bad, self.folder, len(self.names) + len(self.bad))}")
        return tuple(lines)

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (n,) int64 indices of images and their embeddings (n, D), until all M have been had; in any order.

        Raises:
            UserError: a part is gone, or was changed.
        """
        for part in self._parts:
            yield part.indices, part.embeddings()


def open_gallery(
    folder: Path, embedder: Embedder, cache: Path, *, skip_bad: bool = False, store: str = "fp32"
) -> Gallery:
    """Embeds the images of a folder, at any depth, that `cache` does not know yet; shows progress.

    Memory holds the names of all images, and the embeddings of `SHARD`.

    Args:
        folder: of images; nothing is written into it. It may be a symbolic link; those in it must not leave it.
        embedder: turns images into embeddings.
        cache: a folder of ours, for the embeddings of any number of folders and models.
        skip_bad: leave images that cannot be read out, instead of stopping.
        store: how the embeddings are kept, one of `STORES`: fp16 takes half of the disk, and rounds a cosine by about
            0.0001 at most.

    Raises:
        UserError: there is no such folder or no image in it, images cannot be read, the disk is full, or the model's
            output is broken.
    """
    if not folder.is_dir():
        raise UserError(
            f"the gallery {one_line(folder)} is {'a file' if folder.exists() else 'missing'}: name a folder"
        )
    tree = image_tree(folder)
    if not tree.images:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{one_line(folder)} holds no images: files that end in {suffixes}, at any depth")
    source = folder.resolve()
    stamps, places, bad = _stamped(source, tree.images)
    index = cache / index_name(source, embedder, store=store)
    shards, damaged = open_shards(index)
    known = rows_of(shards, stamps)
    new = [name for name in tree.images if name in stamps and name not in known]
    if new:
        embed = _NewImages(source, new, embedder, index, store)
        with told_if_full(index, "the embeddings"):
            bad += embed.into(shards, stamps)
    shards = tidied(index, shards, rows_of(shards, stamps), store=store)
    rows = rows_of(shards, stamps)
    if bad and not skip_bad:
        raise UserError(f"{unreadable(bad, folder, len(tree.images))} (--skip-bad leaves them out)")
    if not rows:
        raise UserError(f"there is no image left to search: {unreadable(bad, folder, len(tree.images))}")
    names = tuple(name for name in tree.images if name in rows)
    return Gallery(
        folder,
        names,
        tuple(places[name] for name in names),
        tuple(sorted(bad)),
        len(set(new) & rows.keys()),
        tuple(damaged),
        tuple(name for name in tree.others if name != CORRECTIONS),
        parts_of(shards, names, rows),
    )


def index_name(source: Path, embedder: Embedder, *, store: str = "fp32") -> str:
    """The folder for what `embedder` makes of the images below `source`."""
    what: tuple[object, ...] = (_FORMAT, PIL.__version__, embedder.digest, embedder.role, os.fsencode(source))
    what += () if store == "fp32" else (store,)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32]


def unreadable(bad: Sequence[tuple[str, str]], folder: Path, total: int) -> str:
    """`2 of 9 images of crops cannot be read: a.jpg (an empty file), b.jpg (damaged: ...)`."""
    shown = some((f"{one_line(name)} ({reason})" for name, reason in sorted(bad)), shown=_NUM_SHOWN)
    return f"{len(bad):,} of {total:,} images of {one_line(folder)} cannot be read: {shown}"


def _stamped(source: Path, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str], list[tuple[str, str]]]:
    """By name: a stamp that changes when the image does, and where the file lies; and (name, reason) of the others."""
    stamps: dict[str, str] = {}
    places: dict[str, str] = {}
    bad = []
    real_folders: dict[str, str] = {}
    for name in names:
        try:
            place = str(locate(source, name, real_folders))
            status = os.stat(place)  # noqa: PTH116 - strings: a gallery may have 1,000,000 of them
        except UnreadableImageError as reason:
            bad.append((name, str(reason)))
            continue
        except OSError as error:
            bad.append((name, f"cannot be opened: {error.strerror}"))
            continue
        places[name] = place
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        stamps[name] = f"{status.st_size} {times} {place.removeprefix(f'{source}/')}"
    return stamps, places, bad


@dataclass(frozen=True)
class _NewImages:
    """Images of `source` that are to be embedded, and kept in `index`."""

    source: Path
    names: Sequence[str]
    embedder: Embedder
    index: Path
    store: str

    def into(self, shards: list[Shard], stamps: Mapping[str, str]) -> list[tuple[str, str]]:
        """Adds shards of the images; (name, reason) of those that cannot be read."""
        height, width = self.embedder.size
        require_room(self.index, min(PACKED, len(self.names)) * height * width * 3, "the decoded images")
        bad: list[tuple[str, str]] = []
        with tempfile.TemporaryDirectory(prefix="decoded-", dir=self.index) as folder:
            for start in range(0, len(self.names), PACKED):
                names = self.names[start : start + PACKED]
                images, reasons = self._decoded(names, Path(folder) / "images.npy", start)
                bad += [(names[row], reason) for row, reason in reasons.items()]
                for first in range(0, len(names), SHARD):
                    rows = [row for row in range(first, min(first + SHARD, len(names))) if row not in reasons]
                    if rows:
                        title = self._title("embedding", start + first, min(SHARD, len(names) - first))
                        found = self.embedder.embed(images[first : first + SHARD], title)[np.array(rows) - first]
                        features, _ = checked_features(found, "the embeddings of the gallery")
                        listed = [(names[row], stamps[names[row]]) for row in rows]
                        shards.append(write_shard(self.index, listed, features, store=self.store))
        return bad

    def _decoded(self, names: Sequence[str], target: Path, start: int) -> tuple[np.ndarray, dict[int, str]]:
        """The images (n, H, W, 3), memory-mapped, and the reasons by the rows of those that cannot be read."""
        height, width = self.embedder.size
        with Progress(self._title("decoding", start, len(names)), len(names), unit="image") as progress:
            _, bad = pack_images(self.source, names, target, height=height, width=width, progress=progress.advance)
        return np.load(target, mmap_mode="r", allow_pickle=False), dict(bad)

    def _title(self, what: str, start: int, num: int) -> str:
        if len(self.names) <= SHARD:
            return f"{what} the gallery"
        return f"{what} the gallery, {start + 1:,} to {start + num:,} of {len(self.names):,}"
