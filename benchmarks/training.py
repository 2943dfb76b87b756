"""Where the time of an epoch goes, and what precision, compilation and determinism do to it.

    python -m benchmarks.training            # on a CPU the demo's recipe, on a GPU that of Market-1501
    python -m benchmarks.training --recipe market1501 --iters 4

Trains on images of coloured patches, as many as the data set of the recipe has, by the session that the stage `train`
runs: with checkpoints, MLflow (where it is installed) and the evaluation. For each way of computing it prints seconds
per epoch (the first, in which kernels are compiled and chosen, does not count), what the recipe's epochs would take,
images per second of a training step against the first way's, the share of each part of the epoch, and peak memory on a
GPU. The parts: those that the trainer times, `evaluation` (of both networks, once in `train.eval_step` epochs), and
`between`, all else that passes between two epochs: copies of checkpoints, MLflow, agreement. `networks` are the forward
and backward passes, measured by themselves on the same shapes: of a step, and of the extraction; what an epoch takes
beyond them is what everything else costs. On a GPU it exits with 1 where that is above the target in the first way.
"""

import copy
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from ruamel.yaml import YAML

from pipeline.common.precision import Precision, precision_on
from pipeline.common.seeding import seed_everything
from pipeline.config.load import Settings, read_settings
from pipeline.evaluation import evaluate
from pipeline.methods import METHODS
from pipeline.model import build
from pipeline.model.embedding import CHUNK, layout_on
from pipeline.model.folded import for_inference
from pipeline.tracking import tracked
from pipeline.training.distributed import Processes
from pipeline.training.session import Row, train_to_end
from pipeline.training.trainer import Trainer

NUM_IMAGES = {"synthetic": 1176, "market1501": 12936, "dukemtmc": 16522, "msmt17": 32621}
QUERIES, GALLERY = 0.26, 1.23  # of the train images, as in Market-1501
EACH, CAMERAS = 17, 6  # images of a person
TARGET = 0.10  # of an epoch, for everything that is not the networks


def draw(number: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) of people who are eight coloured patches each, their cameras, and who they are."""
    rng = np.random.default_rng(1)
    pids = np.arange(number) // EACH
    patches = rng.integers(0, 256, (pids.max() + 1, 4, 2, 3), dtype=np.uint8)
    images = np.empty((number, height, width, 3), dtype=np.uint8)
    for row, pid in enumerate(pids):
        patch = patches[pid].repeat(height // 4, axis=0).repeat(width // 2, axis=1)
        images[row] = np.clip(patch + rng.integers(-30, 31, patch.shape, dtype=np.int16), 0, 255)
    return images, rng.integers(0, CAMERAS, number), pids


def settings_of(recipe: str) -> Settings:
    """What params.yaml says with another data set."""
    yaml = YAML()
    values = yaml.load(Path("params.yaml"))
    values["dataset"] = recipe
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        yaml.dump(values, path)
        return read_settings(path, methods=METHODS)


def ways(device: torch.device, names: list[str], free: bool, compiled: bool) -> list[tuple[str, bool, bool]]:
    """Precision, deterministic, compile."""
    names = names or (["fp32", "tf32", "bf16", "fp16"] if device.type == "cuda" else ["fp32", "bf16"])
    usual = names[0] if len(names) == 1 else precision_on(device, "auto")
    return [(name, True, False) for name in names] + [(usual, False, False)] * free + [(usual, True, True)] * compiled


def fastest(work: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """Seconds of the fastest of some repeats, after one that does not count."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def networks_alone(trainer: Trainer, group: int, images: np.ndarray) -> tuple[float, float]:
    """Seconds per image of both networks in a step, and of one in an extraction; no data, loss, sums or optimizer."""
    device, precision = trainer.processes.device, Precision(trainer.settings.train.precision, trainer.processes.device)
    layout = layout_on(device)
    student, teacher = trainer.student, trainer.teacher
    assert teacher is not None, "the recipe is DCCC's"
    student.train(), teacher.train()
    batch = trainer.settings.sampler.batch  # as many groups as were recorded
    views = torch.randn(batch, 3, *images.shape[1:3], device=device).contiguous(memory_format=layout)

    groups = views.split(group)
    passes = trainer._exact._passes  # as the steps make them, recorded or not

    def step() -> None:
        embeddings, _ = passes[student].forward(groups)
        passes[teacher].forward(groups)
        passes[student].backward([torch.ones_like(each) for each in embeddings])

    def extraction() -> None:
        trainer.student.eval()
        with torch.no_grad(), precision.of_extraction.forward():
            call = for_inference(trainer.student)
            for chunk in views.split(CHUNK):
                call(chunk)
        trainer.student.train()

    of_step = fastest(step, device) / len(views)
    trainer.student.zero_grad(set_to_none=True)
    return of_step, fastest(extraction, device) / len(views)


@dataclass
class Measured:
    """A session of a few epochs.

    Attributes:
        rows: what it recorded of each epoch.
        ends: when each epoch was recorded.
        evaluation: seconds to score both networks.
    """

    rows: list[Row] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    evaluation: float = 0.0

    def parts(self, eval_step: int) -> dict[str, float]:
        """Seconds per epoch of each part; the first epoch does not count."""
        names = [name for name in self.rows[0] if name.startswith("seconds_")]
        parts = {name.removeprefix("seconds_"): statistics.median(r[name] for r in self.rows[1:]) for name in names}
        whole = (self.ends[-1] - self.ends[0] - self.evaluation) / (len(self.rows) - 1)
        timed = statistics.mean(sum(row[name] for name in names) for row in self.rows[1:])
        return {**parts, "between": whole - timed, "evaluation": self.evaluation / eval_step}


def measure(trainer: Trainer, images: np.ndarray, cameras: np.ndarray, pids: np.ndarray) -> Measured:
    """Trains to the end as the stage does; scores as many queries and gallery images as Market-1501 has."""
    measured, order = Measured(), np.random.default_rng(2).permutation(len(images))
    halves = [np.resize(order, round(share * len(images))) for share in (QUERIES, GALLERY)]
    test = [(images[rows], pids[rows], cameras[rows]) for rows in halves]

    def score() -> dict[str, float]:
        began = time.perf_counter()
        for network in filter(None, (trainer.student, trainer.teacher)):
            parts = []
            for pixels, *known in test:
                parts += [trainer.embed(network, pixels, "evaluation").numpy(), *known]
            evaluate(*parts, ranks=(1, 5, 10))
        measured.evaluation = time.perf_counter() - began
        return {}

    installed = importlib.util.find_spec("mlflow") is not None
    with (
        tempfile.TemporaryDirectory() as folder,
        tracked(
            Path(folder), name="benchmark", settings={}, tags={}, resume=Path(folder, "run.json"), shown=installed
        ) as run,
    ):

        def record(row: Row) -> None:
            run.log_epoch(row)
            measured.rows.append(row)
            measured.ends.append(time.perf_counter())

        train_to_end(
            trainer,
            folder=Path(folder) / "checkpoints",
            eval_step=trainer.settings.epochs,
            checkpoint_minutes=10,
            settings=trainer.settings.as_dict(),
            score=score,
            record=record,
            say=lambda _: None,
        )
    return measured


def report(
    name: str, measured: Measured, alone: tuple[float, float], settings: Settings, images: int, first: float | None
) -> tuple[float, float]:
    """Prints a way of computing; its images per second, and the share of an epoch that is not the networks."""
    parts = measured.parts(settings.train.eval_step)
    epoch, scored = sum(parts.values()), 2 * (QUERIES + GALLERY) / settings.train.eval_step  # both networks
    rate = statistics.median(row["images_per_second"] for row in measured.rows[1:])
    networks = alone[0] * rate * parts["train"] + alone[1] * images * (1 + scored)
    shares = "  ".join(f"{part} {seconds / epoch:.1%}" for part, seconds in parts.items())
    peak = f"  peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if torch.cuda.is_available() else ""
    print(
        f"{name:28} {epoch:7.1f} s per epoch ({settings.epochs} epochs: {settings.epochs * epoch / 60:.0f} min)  "
        f"{rate:7.1f} images/s ({rate / (first or rate):.2f}x){peak}\n"
        f"{'':28} {shares}; all but the networks {max(0.0, 1 - networks / epoch):.1%}",
        flush=True,
    )
    return rate, 1 - networks / epoch


def main(
    recipe: Annotated[str, typer.Option(help="A data set whose recipe is taken; by default as the machine can.")] = "",
    epochs: Annotated[int, typer.Option(min=2, help="Of each way; the first does not count.")] = 3,
    iters: Annotated[int, typer.Option(min=0, help="Steps an epoch; 0 = the recipe's.")] = 0,
    images: Annotated[int, typer.Option(min=0, help="Images to train on; 0 = as many as the data set has.")] = 0,
    precision: Annotated[list[str] | None, typer.Option(help="Only these; by default all that the device has.")] = None,
    free: Annotated[bool, typer.Option(help="Measure `train.deterministic: false` too.")] = True,
    graphs: Annotated[bool, typer.Option(help="Replay CUDA graphs on a GPU; off: launch every kernel.")] = True,
    compiled: Annotated[bool, typer.Option(help="Measure `train.compile: true` too.")] = True,
) -> None:
    """Prints images a second and the share of each part of an epoch, for each way of computing."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    settings = settings_of(recipe or ("market1501" if device.type == "cuda" else "synthetic"))
    steps = {"iters": iters or settings.train.iters}
    count = images or NUM_IMAGES[settings.dataset]
    pixels, cameras, pids = draw(count, settings.image.height, settings.image.width)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{settings.backbone}, {count:,} images of {settings.image.height} x {settings.image.width}, "
        f"batch {settings.sampler.batch}, {steps['iters']} steps per epoch, {machine}, torch {torch.__version__}"
    )
    first, shares = None, {}
    for chosen, deterministic, compiles in ways(device, precision or [], free, compiled):
        name = chosen + ", deterministic: false" * (not deterministic) + ", compile: true" * compiles
        seed_everything(settings.seed, deterministic=deterministic)
        student = build(settings.backbone, **settings.model.model_dump()).to(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        decisive = settings.of_training(precision=precision_on(device, "auto"))
        changed = {**steps, "precision": chosen, "compile": compiles}
        training = decisive.model_copy(update={"epochs": epochs, "train": decisive.train.model_copy(update=changed)})
        trainer = Trainer(
            student,
            copy.deepcopy(student),
            images=pixels,
            cameras=cameras,
            processes=Processes(device=device),
            settings=training,
            recorded=graphs,
            shown=False,
        )
        measured = measure(trainer, pixels, cameras, pids)
        alone = networks_alone(trainer, settings.model.bn_group, pixels)
        rate, shares[name] = report(name, measured, alone, settings, count, first)
        first = first or rate
    if device.type == "cuda" and next(iter(shares.values())) > TARGET:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
