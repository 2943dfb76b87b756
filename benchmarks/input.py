"""Images a second of the input pipeline, against the usual way: decode and transform each image in loader processes.

    python -m benchmarks.input

Usual: decode each JPEG file once; then, for each of its two views, Pillow's bicubic resize and torchvision's per-image
transforms, in the processes of a torch DataLoader. Ours: rows of the packed images, and both views of the whole batch
by `draw_views` and `apply_views` in as many threads. Both end with two float32 batches in the main process. An image
counts once, with both its views. The two take turns, and the ratio is that of the medians; what `prepare` costs, once
in the life of a data set, is printed beside it.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from pipeline.common.imagenet import IMAGENET_MEAN, IMAGENET_STD
from pipeline.datasets.augment import apply_views, draw_views
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.packed_images import TrainingImages, open_training_images
from pipeline.preparation.prepared_folder import write_prepared_folder

HEIGHT, WIDTH, PAD = 256, 128, 10
TARGET = 12.0
WARM_UP = 2  # batches that do not count: the start of processes, the first touch of memory
PASSES = 10  # of ours over the images in a round, so that a round of either takes seconds


class UsualDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Two views per image, decoded and transformed one by one."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._transform = transforms.Compose(
            [
                transforms.Resize((HEIGHT, WIDTH), interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(0.5),
                transforms.Pad(PAD),
                transforms.RandomCrop((HEIGHT, WIDTH)),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
                transforms.RandomErasing(0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), value=IMAGENET_MEAN),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        with Image.open(self._paths[index]) as file:
            image = file.convert("RGB")
        return self._transform(image), self._transform(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048, help="JPEG files to draw")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2, help="processes of the usual way, threads of ours")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.workers)
    with tempfile.TemporaryDirectory() as folder:
        raw, prepared = Path(folder) / "raw", Path(folder) / "prepared"
        paths = draw_images(raw, options.images)
        kilobytes = statistics.mean(path.stat().st_size for path in paths) / 1000
        catalogue = from_rows((path.name, None, None, "train") for path in paths)
        began = time.perf_counter()
        write_prepared_folder(catalogue, raw, prepared, height=HEIGHT, width=WIDTH, workers=options.workers)
        prepare_rate = len(paths) / (time.perf_counter() - began)

        loader = DataLoader(
            UsualDataset(paths), options.batch, shuffle=True, num_workers=options.workers, drop_last=True
        )
        images = open_training_images(prepared)
        sum(1 for _ in our_batches(images, options.batch))  # compile, and touch the images
        usual, ours = [], []
        for _ in range(options.rounds):
            usual.append(measure(lambda: iter(loader), options.batch))
            ours.append(measure(lambda: our_batches(images, options.batch), options.batch))

    print(f"{options.images} JPEG files of {HEIGHT} x {WIDTH}, {kilobytes:.0f} kB each on average")
    print(f"batches of {options.batch}, two views per image, {options.workers} workers, {options.rounds} rounds")
    print(f"{'':24}{'images/s, median':>18}{'min':>10}{'max':>10}{'CPU ms/image':>15}")
    for name, results in (("usual (DataLoader)", usual), ("packed images, batches", ours)):
        rates, cpu = zip(*results, strict=True)
        print(
            f"{name:24}{statistics.median(rates):18,.0f}{min(rates):10,.0f}{max(rates):10,.0f}"
            f"{statistics.median(cpu):15.3f}"
        )
    print(f"{'prepare (once)':24}{prepare_rate:18,.0f}")
    speed, work = (statistics.median(r[i] for r in ours) / statistics.median(r[i] for r in usual) for i in (0, 1))
    print(f"ratio {speed:.1f} (target: at least {TARGET:.0f}); of processor time, for a busy machine: {1 / work:.1f}")


def our_batches(images: TrainingImages, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Two views of each image in random order, in whole batches, several times over."""
    generator = np.random.default_rng(0)
    whole = len(images) // batch * batch
    order = np.concatenate([generator.permutation(len(images))[:whole] for _ in range(PASSES)])
    for start in range(0, len(order), batch):
        pixels = torch.from_numpy(images.images[order[start : start + batch]])
        first, second = (
            draw_views(batch, height=HEIGHT, width=WIDTH, pad=PAD, flip=0.5, erase=0.5, generator=generator)
            for _ in range(2)
        )
        yield apply_views(pixels, first), apply_views(pixels, second)


def measure(batches: Callable[[], Iterator[object]], batch: int) -> tuple[float, float]:
    """Images per second after the warm-up, and milliseconds of processor time per image, of all processes."""
    before = sum(os.times()[:4])  # of this process and of those that it has waited for
    iterator = batches()
    for _ in range(WARM_UP):
        next(iterator)
    began = time.perf_counter()
    count = sum(1 for _ in iterator)
    rate = count * batch / (time.perf_counter() - began)
    return rate, 1000 * (sum(os.times()[:4]) - before) / ((count + WARM_UP) * batch)


def draw_images(folder: Path, number: int) -> list[Path]:
    """Writes JPEG files of soft shapes and some noise, about as large as photographs of this size."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = []
    for index in range(number):
        coarse = generator.integers(0, 256, size=(16, 8, 3), dtype=np.uint8)
        soft = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float32)
        noisy = soft + generator.normal(0, 6, size=soft.shape).astype(np.float32)
        paths.append(folder / f"{index:06d}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


if __name__ == "__main__":
    main()
