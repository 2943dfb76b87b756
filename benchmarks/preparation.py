"""Speed of packing a data set against a plain loop with Pillow, and its memory by the number of images.

    python -m benchmarks.preparation
    python -m benchmarks.preparation --msmt17

Draws JPEG files of MSMT17's kind of size, then packs them at 256 x 128 in both ways: the loop opens, converts, resizes
and stores one image after another; `pack_images` is what the stage `prepare` works with, with its checks and the digest
of every image. Each way runs in a process of its own. Exits with 1 where an image differs, or where packing all images
takes 64 MiB more than packing a tenth of them.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from pipeline.datasets.packing import pack_images

SOURCE, SIZE = (300, 130), (256, 128)  # height, width
MSMT17 = 126_441
FILES = 2_000  # that are drawn; their names stand for more by links, so that drawing takes no longer than packing
FLAT = 64 * 2**20

Pack = Callable[[Path, Sequence[str], Path], object]


def draw(folder: Path, images: int) -> list[str]:
    """Writes JPEG files of smooth colours with some noise; links name them more than once."""
    rng = np.random.default_rng(0)
    names = [f"{image:06}.jpg" for image in range(images)]
    for name in names[:FILES]:
        coarse = Image.fromarray(rng.integers(0, 256, (12, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(SOURCE[::-1], Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / name, quality=90)
    for number in range(FILES, images):
        (folder / names[number]).hardlink_to(folder / names[number % FILES])
    return names


def plain_loop(source: Path, names: Sequence[str], target: Path) -> None:
    """Pillow and one array on disk."""
    images = np.lib.format.open_memmap(target, "w+", np.uint8, (len(names), *SIZE, 3))
    for row, name in enumerate(names):
        with Image.open(source / name) as image:
            images[row] = np.asarray(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BICUBIC))
    images.flush()


def packed(source: Path, names: Sequence[str], target: Path) -> None:
    """What `prepare` does."""
    _, bad = pack_images(source, names, target, height=SIZE[0], width=SIZE[1])
    assert not bad


def measured(pack: Pack, source: Path, names: Sequence[str], target: Path) -> tuple[float, float, int]:
    """Seconds; those of the processor, of all processes; the peak of this one, or of its largest worker, in bytes."""
    start, worked = time.perf_counter(), sum(os.times()[:4])
    pack(source, names, target)
    seconds, worked = time.perf_counter() - start, sum(os.times()[:4]) - worked
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # in KiB on Linux
    return seconds, worked, max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024


def main(
    images: Annotated[int, typer.Option(help="files to pack")] = 6_000,
    msmt17: Annotated[bool, typer.Option("--msmt17", help=f"as many as MSMT17 has: {MSMT17:,}")] = False,
) -> None:
    """Draws the files into a temporary folder, packs them in both ways, prints a table."""
    images = MSMT17 if msmt17 else images
    with tempfile.TemporaryDirectory() as temporary:
        source, results = Path(temporary) / "source", []
        source.mkdir()
        names = draw(source, images)
        for number, (pack, some) in enumerate(
            ((plain_loop, names), (packed, names[: max(1, images // 10)]), (packed, names))
        ):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                target = Path(temporary) / f"{number}.npy"
                results.append(alone.submit(measured, pack, source, some, target).result())
        arrays = [np.load(Path(temporary) / f"{number}.npy", mmap_mode="r") for number in (0, 2)]
        same = all(np.array_equal(arrays[0][row], arrays[1][row]) for row in range(images))
    (loop, loop_work, _), (_, _, tenth), (ours, our_work, whole) = results
    print(f"{images:,} JPEG files of {SOURCE[1]} x {SOURCE[0]} to {SIZE[1]} x {SIZE[0]}")
    print(f"{'':24}{'seconds':>10}{'processor':>11}{'images/s':>10}")
    for name, seconds, work in (("plain loop", loop, loop_work), ("pack_images", ours, our_work)):
        print(f"{name:24}{seconds:10.1f}{work:11.1f}{images / seconds:10.0f}")
    print(f"ratio {loop / ours:.2f}; {'the same pixels' if same else 'DIFFERENT pixels'}")
    print(f"peak memory {whole / 2**20:.0f} MiB, and {tenth / 2**20:.0f} MiB for a tenth of the images")
    raise typer.Exit(int(not same or whole - tenth > FLAT))


if __name__ == "__main__":
    typer.run(main)
