"""How the time and the memory of the steps grow with the number of images, as a table and a figure.

    python -m benchmarks.costs --output docs/costs.png
    python -m benchmarks.costs --sizes 5000 --sizes 100000 --sizes 1000000 --output docs/costs.png    (long)

The steps of an epoch beside the training itself, on drawn embeddings (256-d) and, for the extraction, on drawn images
through the demo's network: every step at every size in a process of its own, so that its peak is its own. Memory is
what a step holds beyond its inputs, which are what the steps before it have left in a folder; to leave it there is part
of a step's time. A step above its largest size (`MOST`) is left out, since it would take too long.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
import torch
import typer
from matplotlib.ticker import NullFormatter

from benchmarks.measuring import peak_bytes, synthetic_embeddings
from pipeline.clustering import centroids, dbscan, jaccard_distance, nearest_neighbours
from pipeline.clustering.signals import cluster_signals
from pipeline.clustering.silhouette import silhouette
from pipeline.common.files import replacing
from pipeline.contrast import ClusterMemory
from pipeline.evaluation import evaluate
from pipeline.model import build
from pipeline.model.checkpoint import save_checkpoint
from pipeline.model.embedding import embed
from pipeline.report.figures.drawing import canvas, png_bytes

WIDTH, K1, K2, EPS, MIN_SAMPLES = 256, 30, 6, 0.6, 4
BATCH = 256
SIZES = (5_000, 20_000, 100_000)
BACKBONE, HEIGHT, IMAGE_WIDTH = "resnet10_w32", 64, 32  # the demo's
NEEDED = {  # whose results a step reads
    "Jaccard distance": ("approximate neighbours",),
    "DBSCAN": ("approximate neighbours", "Jaccard distance"),
    "signals": ("approximate neighbours", "Jaccard distance", "DBSCAN"),
}
MOST = {"extraction": 100_000, "exact neighbours": 100_000, "evaluation": 100_000}  # images
CAMERAS = 6

# A step: given the number of images and a folder for what it takes from others and leaves to them, its inputs are made
# or read, and the work is what is returned.
Step = Callable[[int, Path], Callable[[], Any]]


def extraction(num_images: int, folder: Path) -> Callable[[], Any]:
    """The demo's network on drawn images."""
    network = build(BACKBONE, pooling="avg", features=0).eval()
    images = np.random.default_rng(0).integers(0, 256, (num_images, HEIGHT, IMAGE_WIDTH, 3), dtype=np.uint8)
    return partial(embed, network, images, device=torch.device("cpu"))


def exact_search(num_images: int, folder: Path) -> Callable[[], Any]:
    return partial(nearest_neighbours, synthetic_embeddings(num_images, WIDTH), K1, method="exact", device="cpu")


def search(num_images: int, folder: Path) -> Callable[[], Any]:
    embeddings = synthetic_embeddings(num_images, WIDTH)

    def find() -> None:
        np.save(folder / "neighbours.npy", nearest_neighbours(embeddings, K1, method="approximate", device="cpu"))

    return find


def distances(num_images: int, folder: Path) -> Callable[[], Any]:
    embeddings, neighbours = synthetic_embeddings(num_images, WIDTH), np.load(folder / "neighbours.npy")

    def measure() -> None:
        found = jaccard_distance(embeddings, k1=K1, k2=K2, max_distance=EPS, neighbours=neighbours)
        for name in ("data", "indices", "indptr"):
            np.save(folder / f"{name}.npy", getattr(found, name))

    return measure


def distances_there(folder: Path) -> sp.csr_array:
    data, indices, indptr = (np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr"))
    return sp.csr_array((data, indices, indptr), shape=(len(indptr) - 1, len(indptr) - 1))


def clusters(num_images: int, folder: Path) -> Callable[[], Any]:
    distance = distances_there(folder)
    return lambda: np.save(folder / "labels.npy", dbscan(distance, eps=EPS, min_samples=MIN_SAMPLES))


def signals(num_images: int, folder: Path) -> Callable[[], Any]:
    """All that is told about the clusters of an epoch."""
    distance, labels = distances_there(folder), np.load(folder / "labels.npy")
    rng = np.random.default_rng(0)
    cameras = rng.integers(0, CAMERAS, num_images)
    before = np.where(rng.random(num_images) < 0.1, -1, labels)

    def tell() -> None:
        cluster_signals(labels, cameras=cameras, before=before)
        silhouette(labels, distance)

    return tell


def memory(num_images: int, folder: Path) -> Callable[[], Any]:
    """A memory of a cluster for every 17 images, and as many updates as let each image come once."""
    embeddings = torch.from_numpy(synthetic_embeddings(num_images, WIDTH))
    labels = torch.arange(num_images) // 17

    def update() -> None:
        filled = torch.as_tensor(centroids(embeddings.numpy(), labels.numpy()))
        rule = ClusterMemory(filled, momentum=0.1, update="mean", tau=0.05)
        for start in range(0, num_images, BATCH):
            rule.update_(embeddings[start : start + BATCH], labels[start : start + BATCH])

    return update


def checkpoint(num_images: int, folder: Path) -> Callable[[], Any]:
    """What a checkpoint holds besides the networks: a centroid of every 17 images and a label of each image."""
    state = {"centroids": torch.ones(num_images // 17, WIDTH), "labels": torch.arange(num_images)}

    def save() -> None:
        save_checkpoint(folder / "checkpoint.pt", state)

    return save


def evaluation(num_images: int, folder: Path) -> Callable[[], Any]:
    """A gallery of so many images, and a fifth as many queries."""
    rng = np.random.default_rng(0)
    queries = num_images // 5
    gallery = synthetic_embeddings(num_images, WIDTH)
    ids, cams = np.arange(num_images) // 17, rng.integers(0, CAMERAS, num_images)
    asked = rng.permutation(num_images)[:queries]
    return partial(evaluate, gallery[asked], ids[asked], cams[asked], gallery, ids, cams)


STEPS: dict[str, Step] = {
    "extraction": extraction,
    "exact neighbours": exact_search,
    "approximate neighbours": search,
    "Jaccard distance": distances,
    "DBSCAN": clusters,
    "signals": signals,
    "memory": memory,
    "checkpoint": checkpoint,
    "evaluation": evaluation,
}


def report(step: str, num_images: int, folder: Path) -> None:
    """What the process of one step and size runs: prints seconds, seconds of processor time, and bytes."""
    with tempfile.TemporaryDirectory() as small:
        for needed in (*NEEDED.get(step, ()), step):
            STEPS[needed](1000, Path(small))()  # compiles
    work = STEPS[step](num_images, folder)
    before = peak_bytes(reset=True)
    began, spent = time.perf_counter(), time.process_time()
    work()
    cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - spent, "bytes": peak_bytes() - before}
    print(json.dumps(cost))


def apart(step: str, num_images: int, folder: Path) -> dict[str, float]:
    """`report` in a process of its own."""
    code = f"import pathlib, benchmarks.costs as c; c.report({step!r}, {num_images}, pathlib.Path({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def growth(costs: dict[str, dict[int, dict[str, float]]]) -> list[str]:
    """How the processor time of each step grows, a line each: time ~ images ^ power, between neighbouring sizes."""
    lines = []
    for step, rows in costs.items():
        powers = [
            np.log(after["cpu"] / before["cpu"]) / np.log(larger / smaller)
            for (smaller, before), (larger, after) in pairwise(rows.items())
            if before["cpu"] > 0.05  # what is less is the clock's
        ]
        if powers:
            lines.append(f"{step}: CPU time grows by the power {', '.join(f'{each:.2f}' for each in powers)}")
    return lines


def drawn(costs: dict[str, dict[int, dict[str, float]]]) -> bytes:
    """A PNG file: seconds of processor time and MiB of each step over the number of images, on logarithmic axes."""
    with canvas(rows=2, size=(6.4, 7.4)) as (figure, (above, below)):
        for number, (step, rows) in enumerate(costs.items()):
            look = {"marker": "osD^vPX*<"[number], "linestyle": ("-", "--", ":")[number % 3], "label": step}
            above.plot(list(rows), [max(row["cpu"], 1e-3) for row in rows.values()], **look)
            below.plot(list(rows), [max(row["bytes"] / 2**20, 0.1) for row in rows.values()], **look)
        for panel, name in ((above, "CPU seconds"), (below, "MiB beyond the inputs")):
            panel.set(xscale="log", yscale="log", xlabel="images", ylabel=name)
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(lambda value, _: f"{value:,g}" if value < 1 else f"{value:,.0f}")
                axis.set_minor_formatter(NullFormatter())
        figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return png_bytes(figure, dpi=110)


def main(
    output: Annotated[Path, typer.Option(help="the figure, a PNG file")],
    sizes: Annotated[list[int] | None, typer.Option(min=1000, help="numbers of images")] = None,
    steps: Annotated[list[str] | None, typer.Option(help="names of the steps; all of them by default")] = None,
) -> None:
    """Measures, prints a line as soon as it is known, and draws."""
    unknown = sorted(set(steps or ()) - set(STEPS))
    if unknown:
        raise typer.BadParameter(f"no step {unknown[0]!r}: there are {', '.join(STEPS)}", param_hint="--steps")
    asked = set(steps or STEPS)
    asked |= {needed for step in asked for needed in NEEDED.get(step, ())}
    costs: dict[str, dict[int, dict[str, float]]] = {}
    print(f"{'step':24}{'images':>10}{'seconds':>10}{'CPU s':>10}{'MiB':>8}")
    for num_images in sizes or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            for step in (step for step in STEPS if step in asked and num_images <= MOST.get(step, num_images)):
                row = costs.setdefault(step, {})[num_images] = apart(step, num_images, Path(folder))
                numbers = f"{row['seconds']:10.2f}{row['cpu']:10.2f}{row['bytes'] / 2**20:8.0f}"
                print(f"{step:24}{num_images:10,}{numbers}", flush=True)
    print("\n".join(growth(costs)))
    with replacing(output) as temporary:
        temporary.write_bytes(drawn(costs))


if __name__ == "__main__":
    typer.run(main)
