"""Embeddings per second: PyTorch against ONNX Runtime in each precision, with the same threads, on the same pictures.

The network is the paper's by default, with random weights, which compute as fast as trained ones. All read packed
8-bit images, normalize them and give embeddings on the processor, as `evaluate` does. They take turns, round by round,
so that a machine that slows down slows all; the ratios are those of the medians.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from pipeline.inference.example_crops import crops_to_check
from pipeline.inference.onnx_export import export_onnx
from pipeline.inference.onnx_metadata import Agreement
from pipeline.inference.onnx_precision import PRECISIONS
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.model import build
from pipeline.model.embedding import embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--images", type=int, default=64, help="in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = {"height": options.height, "width": options.width}
    crops, what = crops_to_check(Path("data/prepared"), **image)
    images = np.resize(crops, (options.images, *crops.shape[1:]))  # repeated
    torch.manual_seed(0)
    network = build(options.backbone).eval()
    settings = {"backbone": options.backbone, "model": {}, "image": image}
    ways: dict[str, Callable[[], object]] = {"PyTorch": lambda: embed(network, images, device=torch.device("cpu"))}
    files: dict[str, tuple[float, Agreement]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            path, name = Path(folder) / f"{precision}.onnx", f"ONNX {precision}"
            agreement = export_onnx(
                path, network, crops, role="student", settings=settings, precision=precision, calibration=crops
            )
            files[name] = path.stat().st_size / 2**20, agreement
            exported = OnnxNetwork(path, provider="cpu", threads=options.threads)
            ways[name] = partial(exported.embed, images)
    rates = measure(ways, num_images=len(images), rounds=options.rounds)

    print(f"{options.backbone}, {options.height} x {options.width}, {what}")
    print(f"{len(images)} images per round, {options.rounds} rounds, {options.threads} threads each")
    print(f"{'':12}{'images/s, median':>18}{'min':>8}{'max':>8}{'to PyTorch':>12}{'to fp32':>9}{'MiB':>8}{'cosine':>9}")
    usual, exact = (statistics.median(rates[name]) for name in ("PyTorch", "ONNX fp32"))
    for name, found in rates.items():
        median = statistics.median(found)
        line = (
            f"{name:12}{median:18,.1f}{min(found):8,.1f}{max(found):8,.1f}{median / usual:12.2f}{median / exact:9.2f}"
        )
        if name in files:
            size, agreement = files[name]
            line += f"{size:8,.1f}{agreement.cosine:9.4f}"
        print(line)


def measure(ways: dict[str, Callable[[], object]], *, num_images: int, rounds: int) -> dict[str, list[float]]:
    """Images per second of each way in each round, after one that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, compute in ways.items():
            began = time.perf_counter()
            compute()
            if number:
                rates[name].append(num_images / (time.perf_counter() - began))
    return rates


if __name__ == "__main__":
    main()
