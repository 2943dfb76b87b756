"""Decodes and resizes image files into one array on disk, in parallel and in little memory.

Every image is written at its own place in the file, so the result is the same for any number of workers. They are
processes: half of the time that a small JPEG file takes is spent inside the interpreter's lock.
"""

import errno
import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from pipeline.common.contents import Folders
from pipeline.common.errors import UserError
from pipeline.common.parent_process import end_with_parent
from pipeline.datasets.catalogue import image_hash
from pipeline.datasets.images import UnreadableImageError, folder_and_name, locate, read_image, resolved

IMAGES_PER_WORKER = 4096  # fewer are packed in less time than another process takes to start
_CHUNK = 32  # images per task
_BLOCK = 2**24  # bytes moved at once

Packed = tuple[list[bytes], list[tuple[int, str]]]


def pack_images(
    source: Folders,
    names: Sequence[str],
    target: Path,
    *,
    height: int,
    width: int,
    workers: int | None = None,
    follow_links: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Packed:
    """Writes N images to the file `target` as (N, H, W, 3) uint8 in NumPy's format.

    Args:
        source: a folder, or several by the first part of a name.
        names: N files, relative to `source`.
        target: is overwritten.
        height: H.
        width: W.
        workers: processes at most; None = one per core.
        follow_links: read images that a symbolic link places outside `source`, too.
        progress: called with the number of images done since the last call.

    Returns:
        hashes: `image_hash` of each image, empty for those that cannot be read.
        bad: (row, reason) of each that cannot be read, in order; their pixels are 0.

    Raises:
        UserError: a process was killed.
        OSError: the disk is full (ENOSPC).
    """
    source = resolved(source)
    with target.open("wb") as file:
        file.write(_header(len(names), height, width))
        offset = file.tell()
        file.truncate(offset + len(names) * height * width * 3)
    pack = partial(
        _pack_chunk,
        source=source,
        target=target,
        offset=offset,
        height=height,
        width=width,
        follow_links=follow_links,
    )
    chunks = [(start, names[start : start + _CHUNK]) for start in range(0, len(names), _CHUNK)]
    hashes: list[bytes] = []
    bad: list[tuple[int, str]] = []
    workers = min(workers or os.cpu_count() or 1, -(-len(names) // IMAGES_PER_WORKER))
    for some_hashes, some_bad in _results(pack, chunks, workers):
        hashes += some_hashes
        bad += some_bad
        if progress is not None:
            progress(len(some_hashes))
    return hashes, bad


def leave_out(target: Path, rows: Sequence[int]) -> None:
    """Takes images out of a file that `pack_images` wrote, in place: as if they had never been in it.

    Args:
        target: N images.
        rows: sorted, of the images that go, fewer than N.
    """
    with target.open("r+b") as file:
        np.lib.format.read_magic(file)
        (num, height, width, _), _, _ = np.lib.format.read_array_header_1_0(file)
        offset, size = file.tell(), height * width * 3
        header = _header(num - len(rows), height, width)
        assert len(header) == offset  # NumPy keeps room for longer numbers of rows
        file.seek(0)
        file.write(header)
        write_at = offset
        edges = [-1, *rows, num]
        for before, after in pairwise(edges):  # the images between two that go
            start, stop = offset + (before + 1) * size, offset + after * size
            for read_at in range(start, stop, _BLOCK):
                file.seek(read_at)
                block = file.read(min(_BLOCK, stop - read_at))
                file.seek(write_at)
                file.write(block)
                write_at += len(block)
        file.truncate(write_at)


def _header(num: int, height: int, width: int) -> bytes:
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (num, height, width, 3)}
    np.lib.format.write_array_header_1_0(header, shape)
    return header.getvalue()


def _results(
    pack: Callable[[tuple[int, Sequence[str]]], Packed], chunks: list[tuple[int, Sequence[str]]], workers: int
) -> Iterator[Packed]:
    """The results of all chunks in their order."""
    if workers <= 1:
        yield from map(pack, chunks)
        return
    # Spawned, not forked: a fork would copy the locks of whatever threads are running.
    context = get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_belong_to_the_parent, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield from pool.map(pack, chunks)
        except BrokenProcessPool as error:
            raise UserError(
                f"a process that decodes images was killed, one of {workers}: is there too little memory for so many?"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _belong_to_the_parent(parent: int) -> None:
    """Leaves it to the parent to handle Ctrl-C, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def _pack_chunk(
    chunk: tuple[int, Sequence[str]],
    *,
    source: Folders,
    target: Path,
    offset: int,
    height: int,
    width: int,
    follow_links: bool,
) -> Packed:
    """Writes the images of `chunk` (first row, names) at their places."""
    first, names = chunk
    hashes: list[bytes] = []
    bad: list[tuple[int, str]] = []
    real_folders: dict[str, str] = {}
    # Written through the file, not through a memory map: mapped pages would count as this process's memory.
    with target.open("r+b", buffering=0) as file:
        for row, name in enumerate(names, start=first):
            try:
                folder, path = folder_and_name(source, name)
                file_of_it = locate(folder, path, real_folders, follow_links=follow_links)
                image = read_image(file_of_it, height=height, width=width)
            except UnreadableImageError as reason:
                hashes.append(b"")
                bad.append((row, str(reason)))
                continue
            hashes.append(image_hash(image))
            file.seek(offset + row * image.nbytes)
            if file.write(image.data) != image.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    return hashes, bad
