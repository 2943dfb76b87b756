"""Decodes and resizes image files into one array on disk, in parallel and in little memory.

Every image is written at its own place in the file, so the result is the same for any number of workers. They are
processes: half of the time that a small JPEG file takes is spent inside the interpreter's lock.
"""

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

from pipeline.datasets.catalogue import image_hash

IMAGES_A_WORKER = 4096  # fewer are packed in less time than another process takes to start
_CHUNK = 32  # images a task

Packed = tuple[list[bytes], list[tuple[int, str]]]


def pack_images(
    paths: Sequence[Path],
    target: Path,
    *,
    height: int,
    width: int,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Packed:
    """Writes N images to the file `target` as (N, H, W, 3) uint8 in NumPy's format.

    Args:
        paths: N files.
        target: is overwritten.
        height: H.
        width: W.
        workers: processes at most; None = one a core.
        progress: called with the number of images done since the last call.

    Returns:
        hashes: `image_hash` of each image, empty for those that cannot be read.
        bad: (row, reason) of each that cannot be read, in order; their pixels are 0.
    """
    with target.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), height, width, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        file.truncate(offset + len(paths) * height * width * 3)
    pack = partial(_pack_chunk, target=target, offset=offset, height=height, width=width)
    chunks = [(start, paths[start : start + _CHUNK]) for start in range(0, len(paths), _CHUNK)]
    hashes: list[bytes] = []
    bad: list[tuple[int, str]] = []
    workers = min(workers or os.cpu_count() or 1, -(-len(paths) // IMAGES_A_WORKER))
    for some_hashes, some_bad in _results(pack, chunks, workers):
        hashes += some_hashes
        bad += some_bad
        if progress is not None:
            progress(len(some_hashes))
    return hashes, bad


def read_image(path: Path, *, height: int, width: int) -> np.ndarray:
    """Decodes one file: turned as its EXIF data says, RGB, resized by Pillow's bicubic filter.

    Returns:
        (H, W, 3) uint8.

    Raises:
        Exception: whatever Pillow raises for a file that it cannot decode.
    """
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.ascontiguousarray(upright.resize((width, height), Image.Resampling.BICUBIC))


def _results(
    pack: Callable[[tuple[int, Sequence[Path]]], Packed], chunks: list[tuple[int, Sequence[Path]]], workers: int
) -> Iterator[Packed]:
    """The results of all chunks in their order."""
    if workers <= 1:
        yield from map(pack, chunks)
        return
    # Spawned, not forked: a fork would copy the locks of whatever threads are running.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            yield from pool.map(pack, chunks)
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pack_chunk(chunk: tuple[int, Sequence[Path]], *, target: Path, offset: int, height: int, width: int) -> Packed:
    """Writes the images of `chunk` (first row, paths) at their places."""
    first, paths = chunk
    hashes: list[bytes] = []
    bad: list[tuple[int, str]] = []
    # Written through the file, not through a memory map: mapped pages would count as this process's memory.
    with warnings.catch_warnings(), target.open("r+b", buffering=0) as file:
        warnings.simplefilter("ignore")  # about odd metadata; what cannot be decoded raises
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for row, path in enumerate(paths, start=first):
            try:
                image = read_image(path, height=height, width=width)
            except Exception as error:  # a broken file can make Pillow raise nearly anything
                hashes.append(b"")
                bad.append((row, _reason(error)))
                continue
            hashes.append(image_hash(image))
            file.seek(offset + row * image.nbytes)
            written = file.write(image.data)
            if written != image.nbytes:
                raise OSError(f"{target}: the disk is full")
    return hashes, bad


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PIL.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too many pixels to be decoded safely"
    return " ".join(f"{type(error).__name__}: {error}".split())
