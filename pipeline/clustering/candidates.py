"""Candidates for the nearest neighbours of every image, by matrix products on the CPU or on a GPU.

A matrix product is fast, but the last bits of its numbers depend on the machine and on where in the matrix a pair
stands. So its numbers only choose candidates, a few more than are asked for; `neighbours.py` ranks them.

Shapes: N images, D width of an embedding, C room for candidates of a row, T side of a tile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.common.kernels import compiled, one_thread_products, run

TILE = 1024  # T; a tile of float32 is 4 MiB and stays in the cache between the product and the search in it
LANE = 64  # columns that are compared at once; most lanes hold nothing of interest
DEVICE_CHUNK = 2**28  # products on the device at a time: 1 GiB


class Candidates(NamedTuple):
    """The images most similar to each image, in no particular order.

    Row i holds `counts[i]` candidates; no value behind them is larger than theirs. Every image that is not among them
    is at most `floors[i]` similar.
    """

    values: NDArray[np.float32]  # (N, C) similarities, as accurate as a matrix product
    columns: NDArray[np.int32]  # (N, C) images
    counts: NDArray[np.int32]  # (N,)
    floors: NDArray[np.float32]  # (N,) -inf where nothing was left out


def by_tiles(
    embeddings: NDArray[np.float32],
    width: int,
    *,
    groups: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> Candidates:
    """At least the `width` most similar images of each image, on the CPU: N² D operations, O(N width) memory.

    The product is computed in tiles, and only in those on and above the diagonal: a tile serves its rows and, read
    by columns, the rows of its mirror image. A tile is one thread's work; which comes first may change what is
    kept beyond the `width` best, but nothing that `Candidates` promises.

    With `groups` (N,), an image and those of other groups alone are candidates: a row may hold fewer than `width`.
    """
    num_images = len(embeddings)
    found = no_candidates(num_images, 2 * width)
    numbers = np.arange(num_images)
    locks = {top: Lock() for top in range(0, num_images, TILE)}

    def search(top: int, left: int) -> None:
        rows, others = numbers[top : top + TILE], numbers[left : left + TILE]
        products = embeddings[top : top + TILE] @ embeddings[left : left + TILE].T
        if groups is not None:
            hide(products, rows, others, groups)
        with locks[top]:
            take_rows(products, rows, others, *found, width)
        if left > top:
            with locks[left]:
                _take_columns(products, rows, left, *found, width)

    with one_thread_products():
        run([partial(search, top, left) for top, left in _tiles(num_images)], threads=threads)
    return found


def _tiles(num_images: int) -> Iterator[tuple[int, int]]:
    """The tiles on and above the diagonal; along the diagonal first: catalogues keep similar images together."""
    for offset in range(0, num_images, TILE):
        for top in range(0, num_images - offset, TILE):
            yield top, top + offset


def on_device(
    embeddings: torch.Tensor,
    width: int,
    *,
    groups: NDArray[np.int64] | None = None,
    rows: range | None = None,
    chunk: int = DEVICE_CHUNK,
) -> Candidates:
    """The `width` most similar images of each image, on the device that holds the embeddings.

    Args:
        embeddings: (N, D) float32.
        width: how many, at most N.
        groups: (N,), as in `by_tiles`.
        rows: the images whose candidates are wanted, which the result has a row for; None: all.
        chunk: products that exist at a time.
    """
    num_images = len(embeddings)
    rows = range(num_images) if rows is None else rows
    values = np.empty((len(rows), width), np.float32)
    columns = np.empty((len(rows), width), np.int32)
    step = max(1, chunk // max(1, num_images))
    own = None if groups is None else torch.from_numpy(groups).to(embeddings.device)
    with _whole_float32():
        for start in rows[::step]:
            block = slice(start, min(start + step, rows.stop))
            products = embeddings[block] @ embeddings.T
            if own is not None:
                itself = products.diagonal(start).clone()
                products.masked_fill_(own[block, None] == own, -torch.inf).diagonal(start).copy_(itself)
            best = products.topk(width, dim=1)
            place = slice(block.start - rows.start, block.stop - rows.start)
            values[place], columns[place] = best.values.cpu().numpy(), best.indices.cpu().numpy()
    return ranked_candidates(values, columns, num_images)


def ranked_candidates(values: NDArray[np.float32], columns: NDArray[np.int32], num_images: int) -> Candidates:
    """The most similar of `num_images` images; a row that has fewer ends in -inf."""
    floors = np.full(len(values), -np.inf, np.float32)
    if values.shape[1] < num_images:
        floors = values.min(axis=1)
    return Candidates(values, columns, np.isfinite(values).sum(axis=1).astype(np.int32), floors)


class DeviceSearch(Protocol):
    """As `on_device`, for all rows."""

    def __call__(self, embeddings: torch.Tensor, width: int, *, groups: NDArray[np.int64] | None) -> Candidates: ...


_SEARCH: ContextVar[DeviceSearch | None] = ContextVar("_SEARCH", default=None)


@contextmanager
def searched_by(search: DeviceSearch) -> Iterator[None]:
    """Within it, `search` takes the place of `on_device`: it may have several devices."""
    token = _SEARCH.set(search)
    try:
        yield
    finally:
        _SEARCH.reset(token)


def device_search() -> DeviceSearch:
    """Who searches on a device: `on_device`, or what `searched_by` says."""
    return _SEARCH.get() or on_device


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Products of float32 without TF32, which training may have allowed: it is too coarse to choose candidates by."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def no_candidates(num_images: int, room: int) -> Candidates:
    """Room for candidates, to be filled."""
    return Candidates(
        np.full((num_images, room), -np.inf, np.float32),
        np.empty((num_images, room), np.int32),
        np.zeros(num_images, np.int32),
        np.full(num_images, -np.inf, np.float32),
    )


@compiled
def hide(products, rows, others, groups):  # type: ignore[no-untyped-def]
    """Makes -inf of the products of two different images of one group, which `take_rows` never takes."""
    theirs = groups[others]
    for r in range(products.shape[0]):
        i = rows[r]
        own = groups[i]
        for c in range(products.shape[1]):
            if theirs[c] == own and others[c] != i:
                products[r, c] = -np.inf


@compiled
def take_rows(products, rows, others, values, columns, counts, floors, width):  # type: ignore[no-untyped-def]
    """Offers the images `others`, by columns of the products, to the images `rows`."""
    for r in range(products.shape[0]):
        i = rows[r]
        row_values, row_columns, count, floor = values[i], columns[i], counts[i], floors[i]
        for lane in range(0, products.shape[1], LANE):
            part = products[r, lane : lane + LANE]
            hits = np.int32(0)
            for c in range(len(part)):
                hits += np.int32(part[c] > floor)
            if hits == 0:
                continue
            for c in range(len(part)):
                if part[c] > floor:
                    row_values[count] = part[c]
                    row_columns[count] = others[lane + c]
                    count += 1
                    if count == len(row_values):
                        floor = _cut(row_values, row_columns, width)
                        count = width
        counts[i] = count
        floors[i] = floor


@compiled
def _take_columns(products, rows, left, values, columns, counts, floors, width):  # type: ignore[no-untyped-def]
    """Offers the images `rows`, by rows of the products, to the images of the columns, which begin with `left`."""
    for r in range(products.shape[0]):
        for lane in range(0, products.shape[1], LANE):
            part = products[r, lane : lane + LANE]
            limit = floors[left + lane : left + lane + len(part)]
            hits = np.int32(0)
            for c in range(len(part)):
                hits += np.int32(part[c] > limit[c])
            if hits == 0:
                continue
            for c in range(len(part)):
                if part[c] > limit[c]:
                    i = left + lane + c
                    values[i, counts[i]] = part[c]
                    columns[i, counts[i]] = rows[r]
                    counts[i] += 1
                    if counts[i] == values.shape[1]:
                        limit[c] = _cut(values[i], columns[i], width)
                        counts[i] = width


@compiled
def _cut(values, columns, width):  # type: ignore[no-untyped-def]
    """Moves the `width` largest values and their columns to the front (Hoare's selection); the least of them."""
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        a, b = low, high
        while a <= b:
            while values[a] > pivot:
                a += 1
            while values[b] < pivot:
                b -= 1
            if a <= b:
                values[a], values[b] = values[b], values[a]
                columns[a], columns[b] = columns[b], columns[a]
                a += 1
                b -= 1
        if width - 1 <= b:
            high = b
        elif width - 1 >= a:
            low = a
        else:
            break
    return values[:width].min()
