"""How the time and the memory of the steps grow with the number of images, as a table and a figure.

    python -m benchmarks.costs --output docs/costs.png
    python -m benchmarks.costs --sizes 200000 --sizes 1000000 --output costs.png    (long)

The steps of an epoch beside the training itself, on drawn embeddings (256-d) and, for the extraction, on drawn images
through the demo's network: every step at every size in a process of its own, so that its peak is its own. Memory is
what a step holds beyond its inputs. A step above its largest size (`MOST`) is left out, since it would take too long.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.measuring import peak_bytes, synthetic_embeddings
from pipeline.clustering import centroids, dbscan, jaccard_distance, nearest_neighbours
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
SIZES = (5_000, 10_000, 20_000, 40_000)
BACKBONE, HEIGHT, IMAGE_WIDTH = "resnet10_w32", 64, 32  # the demo's
MOST = {"extraction": 40_000, "exact neighbours": 200_000, "evaluation": 200_000}  # images


def extraction(num_images: int) -> Callable[[], Any]:
    """The demo's network on drawn images."""
    network = build(BACKBONE, pooling="avg", features=0).eval()
    images = np.random.default_rng(0).integers(0, 256, (num_images, HEIGHT, IMAGE_WIDTH, 3), dtype=np.uint8)
    return partial(embed, network, images, device=torch.device("cpu"))


def search(num_images: int, method: str) -> Callable[[], Any]:
    return partial(nearest_neighbours, synthetic_embeddings(num_images, WIDTH), K1, method=method, device="cpu")


def distances(num_images: int) -> Callable[[], Any]:
    embeddings = synthetic_embeddings(num_images, WIDTH)
    method = "exact" if num_images < 100_000 else "approximate"
    rank = nearest_neighbours(embeddings, K1, method=method, device="cpu")
    return partial(jaccard_distance, embeddings, k1=K1, k2=K2, max_distance=EPS, neighbours=rank)


def clusters(num_images: int) -> Callable[[], Any]:
    return partial(dbscan, distances(num_images)(), eps=EPS, min_samples=MIN_SAMPLES)


def silhouettes(num_images: int) -> Callable[[], Any]:
    distance = distances(num_images)()
    return partial(silhouette, dbscan(distance, eps=EPS, min_samples=MIN_SAMPLES), distance)


def memory(num_images: int) -> Callable[[], Any]:
    """A memory of a cluster for every 17 images, and as many updates as let each image come once."""
    embeddings = torch.from_numpy(synthetic_embeddings(num_images, WIDTH))
    labels = torch.arange(num_images) // 17

    def update() -> None:
        filled = torch.as_tensor(centroids(embeddings.numpy(), labels.numpy()))
        rule = ClusterMemory(filled, momentum=0.1, update="mean", tau=0.05)
        for start in range(0, num_images, BATCH):
            rule.update_(embeddings[start : start + BATCH], labels[start : start + BATCH])

    return update


def checkpoint(num_images: int) -> Callable[[], Any]:
    """What a checkpoint holds besides the networks: a centroid of every 17 images and a label of each image."""
    state = {"centroids": torch.ones(num_images // 17, WIDTH), "labels": torch.arange(num_images)}

    def save() -> None:
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder) / "checkpoint.pt", state)

    return save


def evaluation(num_images: int) -> Callable[[], Any]:
    """A gallery of so many images, and a fifth as many queries."""
    rng = np.random.default_rng(0)
    queries = num_images // 5
    gallery = synthetic_embeddings(num_images, WIDTH)
    ids, cams = np.arange(num_images) // 17, rng.integers(0, 6, num_images)
    asked = rng.permutation(num_images)[:queries]
    return partial(evaluate, gallery[asked], ids[asked], cams[asked], gallery, ids, cams)


STEPS: dict[str, Callable[[int], Callable[[], Any]]] = {
    "extraction": extraction,
    "exact neighbours": partial(search, method="exact"),
    "approximate neighbours": partial(search, method="approximate"),
    "Jaccard distance": distances,
    "DBSCAN": clusters,
    "silhouette": silhouettes,
    "memory": memory,
    "checkpoint": checkpoint,
    "evaluation": evaluation,
}


def report(step: str, num_images: int) -> None:
    """What the process of one step and size runs: prints seconds, seconds of processor time, and bytes."""
    STEPS[step](1000)()  # compiles
    work = STEPS[step](num_images)
    before = peak_bytes(reset=True)
    began, spent = time.perf_counter(), time.process_time()
    work()
    cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - spent, "bytes": peak_bytes() - before}
    print(json.dumps(cost))


def apart(step: str, num_images: int) -> dict[str, float]:
    """`report` in a process of its own."""
    call = f"from benchmarks.costs import report; report({step!r}, {num_images})"
    done = subprocess.run([sys.executable, "-c", call], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def drawn(costs: dict[str, dict[int, dict[str, float]]]) -> bytes:
    """A PNG file: seconds of processor time and MiB of each step over the number of images, on logarithmic axes."""
    with canvas(rows=2, size=(6.4, 7.0)) as (figure, (above, below)):
        for number, (step, rows) in enumerate(costs.items()):
            look = {"marker": "osD^vPX*<"[number], "linestyle": ("-", "--", ":")[number % 3], "label": step}
            above.plot(list(rows), [max(row["cpu"], 1e-3) for row in rows.values()], **look)
            below.plot(list(rows), [max(row["bytes"] / 2**20, 0.1) for row in rows.values()], **look)
        for panel, name in ((above, "CPU seconds"), (below, "MiB beyond the inputs")):
            panel.set(xscale="log", yscale="log", xlabel="images", ylabel=name)
        above.legend(ncols=2, fontsize=8)
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
    costs: dict[str, dict[int, dict[str, float]]] = {}
    print(f"{'step':24}{'images':>10}{'seconds':>10}{'CPU s':>10}{'MiB':>8}")
    for num_images in sizes or SIZES:
        for step in steps or STEPS:
            if num_images > MOST.get(step, num_images):
                continue
            row = costs.setdefault(step, {})[num_images] = apart(step, num_images)
            print(
                f"{step:24}{num_images:10,}{row['seconds']:10.2f}{row['cpu']:10.2f}{row['bytes'] / 2**20:8.0f}",
                flush=True,
            )
    with replacing(output) as temporary:
        temporary.write_bytes(drawn(costs))


if __name__ == "__main__":
    typer.run(main)
