"""Embeddings on disk, in small files that are each complete: what a search need not compute again.

A shard is an .npz file of `embeddings` ((n, D) float32 or float16) and `images` (JSON: name and stamp of each), named
after the SHA-256 of its bytes. So a damaged one is known, none is ever changed, and two programs that write to one
folder do not disturb each other. Shards are read one at a time, and hold no objects that could run anything.
n: images of a shard · D: width of an embedding.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.files import replacing

SHARD = 4096  # images: 32 MiB where an embedding is 2048 wide
STORES = {"fp32": np.float32, "fp16": np.float16}  # how the numbers are kept; they are computed with as float32
_LOOSE = 8  # shards that may be smaller, before they are put together


@dataclass(frozen=True)
class Shard:
    """What a shard holds.

    Attributes:
        path: of the file.
        images: name and stamp of each of its rows.
    """

    path: Path
    images: tuple[tuple[str, str], ...]

    def embeddings(self) -> np.ndarray:
        """(n, D) float32.

        Raises:
            UserError: it is gone, or was changed.
        """
        return _embeddings(self.path)


class Part(NamedTuple):
    """The images of a gallery that are in one shard, without their names: a gallery may have 1,000,000 of them."""

    path: Path  # of the shard
    rows: np.ndarray  # (n,) int64, in the shard
    indices: np.ndarray  # (n,) int64, in the gallery

    def embeddings(self) -> np.ndarray:
        """(n, D) float32; see `Shard.embeddings`."""
        return _embeddings(self.path)[self.rows]


def write_shard(
    folder: Path, images: Sequence[tuple[str, str]], embeddings: np.ndarray, *, store: str = "fp32"
) -> Shard:
    """Writes a shard into `folder`, in one step; `store` is one of `STORES`."""
    assert len(images) == len(embeddings)
    buffer = io.BytesIO()
    listing = np.frombuffer(json.dumps(list(images)).encode(), np.uint8)
    np.savez(buffer, embeddings=embeddings.astype(STORES[store], copy=False), images=listing)
    content = buffer.getvalue()
    path = folder / f"{hashlib.sha256(content).hexdigest()}.npz"
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Shard(path, tuple(images))


def open_shards(folder: Path) -> tuple[list[Shard], list[Path]]:
    """The shards of a folder, and the files among them that were damaged: those are deleted."""
    shards, damaged = [], []
    for path in sorted(path for path in folder.glob("*.npz") if path.is_file()):
        content = path.read_bytes()
        try:
            images = _parsed(content)[0] if _is_whole(path, content) else None
        except Exception:  # whole, but nothing of ours: numpy and zipfile meet it with whatever their parsers raise
            images = None
        if images is None:
            path.unlink()
            damaged.append(path)
        else:
            shards.append(Shard(path, images))
    return shards, damaged


def rows_of(shards: Iterable[Shard], stamps: dict[str, str]) -> dict[str, tuple[Path, int]]:
    """Where the embedding of each image lies whose stamp is still the same: name -> (shard, row)."""
    rows: dict[str, tuple[Path, int]] = {}
    for shard in shards:
        for row, (name, stamp) in enumerate(shard.images):
            if stamps.get(name) == stamp:
                rows.setdefault(name, (shard.path, row))
    return rows


def parts_of(shards: Iterable[Shard], names: Sequence[str], rows: dict[str, tuple[Path, int]]) -> tuple[Part, ...]:
    """Where the embeddings of `names` are: each image is in one part.

    Args:
        shards: that hold them.
        names: M images of the gallery.
        rows: what `rows_of` finds in these shards; it has all names.
    """
    index = {name: number for number, name in enumerate(names)}
    parts = []
    for shard in shards:
        inside = [
            (row, index[name])
            for row, (name, _) in enumerate(shard.images)
            if name in index and rows[name] == (shard.path, row)
        ]
        if inside:
            parts.append(Part(shard.path, *np.array(inside, np.int64).T))
    return tuple(parts)


def tidied(
    folder: Path, shards: Sequence[Shard], rows: dict[str, tuple[Path, int]], *, store: str = "fp32"
) -> list[Shard]:
    """Drops the rows that nothing in `rows` points to, and puts small shards together where there are many.

    Full shards without a stale row stay as they are; the others are read one at a time. Those that go are deleted when
    what replaces them is written.

    Returns:
        The shards that remain; `rows_of` finds the same embeddings in them.
    """
    alive = set(rows.values())
    stale = [shard for shard in shards if any((shard.path, row) not in alive for row in range(len(shard.images)))]
    loose = [shard for shard in shards if len(shard.images) < SHARD]
    if not stale and len(loose) <= _LOOSE:
        return list(shards)
    old = {shard.path: shard for shard in [*stale, *loose]}
    remaining = [shard for shard in shards if shard.path not in old]
    images: list[tuple[str, str]] = []
    parts: list[np.ndarray] = []
    for shard in old.values():
        kept = [row for row in range(len(shard.images)) if (shard.path, row) in alive]
        images += [shard.images[row] for row in kept]
        parts.append(shard.embeddings()[kept])
        if len(images) >= SHARD:
            whole = np.concatenate(parts)
            remaining.append(write_shard(folder, images[:SHARD], whole[:SHARD], store=store))
            images, parts = images[SHARD:], [whole[SHARD:]]
    if images:
        remaining.append(write_shard(folder, images, np.concatenate(parts), store=store))
    for path in old.keys() - {shard.path for shard in remaining}:
        path.unlink(missing_ok=True)
    return remaining


def _embeddings(path: Path) -> np.ndarray:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} is gone, another search may have tidied up: search again") from error
    if not _is_whole(path, content):
        raise UserError(f"{path} was damaged since it was opened: search again")
    return _parsed(content)[1]


def _is_whole(path: Path, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == path.stem


def _parsed(content: bytes) -> tuple[tuple[tuple[str, str], ...], np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        embeddings, listing = arrays["embeddings"], json.loads(arrays["images"].tobytes())
    images = tuple((str(name), str(stamp)) for name, stamp in listing)
    if embeddings.dtype not in STORES.values() or embeddings.ndim != 2 or len(embeddings) != len(images):
        raise ValueError("not a table of embeddings")
    return images, embeddings.astype(np.float32, copy=False)
