"""Speed and memory of an exact search of 1,000,000 images beside NumPy with everything in one piece.

    python -m benchmarks.search
    python -m benchmarks.search --store fp16

Drawn embeddings are written as the shards that a search keeps. Each way then runs in a process of its own, from the
files to the ten best of every query: ours opens the shards and searches them; NumPy reads one file of all embeddings,
multiplies once and sorts what argpartition leaves. Exits with 1 where ours takes more memory than the target beyond
what it started with, or a ranking differs; with --store fp16 it says how many do.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from pipeline.inference.ranking import rank_gallery
from pipeline.search.gallery import Gallery
from pipeline.search.queries import Queries, search_gallery
from pipeline.search.shards import SHARD, open_shards, parts_of, rows_of, write_shard

TOP = 10
BYTES_PER_IMAGE, BYTES_AT_ONCE = 900, 2**28  # names and stamps; a shard, its products and what finds the candidates
WHOLE = "whole.npy"


class Measured(NamedTuple):
    """What a way of searching took, and the (Q, TOP) images that it found."""

    seconds: float
    processor: float  # seconds of all threads: what remains comparable on a busy machine
    bytes: int
    found: np.ndarray


def drawn(rows: int, width: int, seed: int) -> np.ndarray:
    """(rows, width) float32 of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def name_of(image: int) -> str:
    return f"camera-{image % 16:02}/{image:08}.jpg"


def stamp_of(image: int) -> str:
    return f"{20_000 + image} 1700000000000000000 1700000000000000000 {name_of(image)}"


def write_gallery(folder: Path, *, images: int, width: int, store: str = "fp32") -> None:
    """The shards, and the same embeddings in one file."""
    whole = np.lib.format.open_memmap(folder / WHOLE, "w+", np.float32, (images, width))
    for first in range(0, images, SHARD):
        rows = range(first, min(first + SHARD, images))
        vectors = drawn(len(rows), width, first)
        write_shard(folder, [(name_of(row), stamp_of(row)) for row in rows], vectors, store=store)
        whole[first : first + len(rows)] = vectors
    whole.flush()


def queries_of(folder: Path, queries: int) -> np.ndarray:
    """(Q, D): images of the gallery, moved a little."""
    whole = np.load(folder / WHOLE, mmap_mode="r")
    rows = np.linspace(0, len(whole) - 1, queries).astype(int)
    moved = whole[rows] + 0.05 * drawn(queries, whole.shape[1], 2**32 - 1)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def measured(search: Callable[[Path, np.ndarray], np.ndarray], folder: Path, queries: np.ndarray) -> Measured:
    """Runs a search in this process, which has done nothing else; its peak beyond what it starts with (Linux)."""
    rank_gallery(queries[:1], [(np.arange(1), queries[:1])], top=1, left_out=[()])  # loads what it works with
    before, start = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(), time.perf_counter()
    worked = time.process_time()
    found = search(folder, queries)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    return Measured(seconds, worked, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before, found)


def ours(folder: Path, queries: np.ndarray) -> np.ndarray:
    """As `stages.search` does it, once the images' stamps are known."""
    images = len(np.load(folder / WHOLE, mmap_mode="r"))
    shards, damaged = open_shards(folder)
    assert not damaged
    stamps = {name_of(image): stamp_of(image) for image in range(images)}
    names = tuple(stamps)
    parts = parts_of(shards, names, rows_of(shards, stamps))
    del shards, stamps  # as when `open_gallery` returns
    gallery = Gallery(folder, names, names, (), 0, (), (), parts)
    asked = Queries(tuple(f"query {row}" for row in range(len(queries))), ("",) * len(queries), queries, ())
    lists = search_gallery(asked, gallery, top=TOP)
    numbers = {name: number for number, name in enumerate(gallery.names)}
    return np.array([[numbers[hit.path] for hit in found.hits] for found in lists])


def in_one_piece(folder: Path, queries: np.ndarray) -> np.ndarray:
    """Plain NumPy."""
    similarity = queries @ np.load(folder / WHOLE).T
    best = np.argpartition(-similarity, TOP, axis=1)[:, :TOP]
    order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def main(
    images: Annotated[int, typer.Option(help="of the gallery")] = 1_000_000,
    width: Annotated[int, typer.Option(help="of an embedding")] = 256,
    queries: Annotated[int, typer.Option(help="that are searched for together")] = 100,
    store: Annotated[str, typer.Option(help="of ours: fp32 or fp16")] = "fp32",
) -> None:
    """Writes the gallery into a temporary folder, searches it in both ways, prints a table."""
    target = images * BYTES_PER_IMAGE + BYTES_AT_ONCE
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_gallery(folder, images=images, width=width, store=store)
        asked, results = queries_of(folder, queries), []
        for search in (ours, in_one_piece):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                results.append(alone.submit(measured, search, folder, asked).result())
    mine, theirs = results
    print(f"{queries} queries, {images:,} images, {width}-d, {os.cpu_count()} cores, from the files to the first {TOP}")
    print(f"{'':24}{'seconds':>10}{'processor':>11}{'MiB':>10}")
    for name, result in (("NumPy in one piece", theirs), ("pipeline.search", mine)):
        print(f"{name:24}{result.seconds:10.2f}{result.processor:11.2f}{result.bytes / 2**20:10.0f}")
    equal, first = np.all(mine.found == theirs.found, axis=1).sum(), (mine.found[:, 0] == theirs.found[:, 0]).sum()
    times = f"time {mine.seconds / theirs.seconds:.2f}, processor time {mine.processor / theirs.processor:.2f}"
    ratios = f"{times}, memory {mine.bytes / theirs.bytes:.2f}"
    print(f"ratio {ratios} (target: under {target / 2**20:.0f} MiB)")
    print(f"{store}: {equal} of {queries} rankings are equal, {first} in their first place")
    raise typer.Exit(int(mine.bytes > target or (store == "fp32" and equal < queries)))


if __name__ == "__main__":
    typer.run(main)
