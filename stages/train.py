"""Unsupervised training: clustering and cluster contrast, epoch by epoch."""

import copy
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer

import pipeline.common.paths as at
import stages
from pipeline.clustering.quality import cluster_quality
from pipeline.common.files import read_json, replacing, write_json
from pipeline.common.precision import default_precision
from pipeline.common.seeding import seed_everything
from pipeline.config.load import Settings, check_processes, read_settings
from pipeline.datasets.packed_images import PackedImages, open_training_images
from pipeline.evaluation.metrics import metrics
from pipeline.evaluation.test_set import TestSet, why_not_scored
from pipeline.model.checkpoint import fingerprint, held, other_training
from pipeline.model.saved import BEST_FILE, MODEL_FILE, REQUIRED, ROLES, build_of, save_best, save_model
from pipeline.model.starting_weights import starting_weights
from pipeline.tracking import tracked
from pipeline.tracking.inputs import log_dataset
from pipeline.training import distributed
from pipeline.training.interruption import InterruptedTrainingError, Interruption
from pipeline.training.plan import EpochResult, Plan
from pipeline.training.session import Row, forget, train_to_end
from pipeline.training.trainer import Trainer

# The sections that a training's outcome depends on, beside its data and its starting weights.
NUMBERS = ("augment", "sampler", "clustering", "reliability", "memory", "loss", "optimiser", "teacher")
DECISIVE = ("dataset", "method", "backbone", "epochs", "seed", "model", *NUMBERS)
CARRIED = ("image", *DECISIVE)
DECISIVE_OF_TRAIN = ("iters", "eval_step", "precision", "compile", "deterministic")


def train() -> None:
    """Trains student and, if the method has one, teacher on the images of the train split, without any identity.

    Reads params.yaml, data/prepared/ and data/pretrained/. Writes data/model/: model.safetensors (the networks,
    with their settings), best.safetensors (each as it was when it scored highest), run.json (the MLflow run) and
    settings.yaml; and reports/training.csv (one row an epoch).
    Started by DVC or by hand, it starts `train.processes` of itself by torchrun; started by torchrun, it is one.
    Interrupted, it goes on where it was when started again with the same settings, data and weights.
    """
    settings = read_settings()
    if distributed.launched():
        with distributed.told_to_launcher(), distributed.join() as processes:
            check_processes(settings, processes.size)
            try:
                _train(settings, processes)
            except InterruptedTrainingError as interrupted:
                raise typer.Exit(1) from interrupted
    else:
        wanted = settings.train.processes
        groups = settings.sampler.batch // settings.model.bn_group
        count = distributed.default_processes(groups) if wanted == "auto" else wanted
        check_processes(settings, count)
        raise typer.Exit(distributed.launch("stages.train", processes=count))


def _train(settings: Settings, processes: distributed.Processes) -> None:
    images, packed = open_training_images(at.PREPARED), PackedImages(at.PREPARED)
    untested = why_not_scored(packed)
    weights, start = starting_weights(at.PRETRAINED)
    plan = _plan(settings, processes)
    seed_everything(settings.seed, deterministic=settings.train.deterministic)
    student = build_of(settings.as_dict(*REQUIRED), weights=weights).to(processes.device)
    interruption = Interruption()
    trainer = Trainer(
        student,
        copy.deepcopy(student) if plan.has_teacher else None,
        images=images.images,
        cameras=images.camids,
        plan=plan,
        processes=processes,
        interruption=interruption,
    )
    summary = read_json(at.PREPARED / "summary.json")
    data = summary["digest"]
    running = {**{key: getattr(settings.train, key) for key in DECISIVE_OF_TRAIN}, "precision": plan.precision}
    facts = {**settings.as_dict(*DECISIVE), "train": running, "data": data, "weights": start["sha256"]}
    folder = at.scratch() / fingerprint(facts)
    test = None if untested else partial(_score, trainer, TestSet(packed), folder / BEST_FILE, settings)
    name = f"{settings.dataset} {settings.method} {settings.backbone} seed {settings.seed}"
    tags = {
        "dataset": settings.dataset,
        "method": settings.method,
        "backbone": settings.backbone,
        "seed": str(settings.seed),
        "data.digest": data,
        "precision": plan.precision,
        "weights": str(start["name"]),
    }
    with (
        held(folder) if processes.first else nullcontext(),
        interruption.watched(),
        tracked(
            at.checkout(),
            name=name,
            settings=settings.as_dict(),
            tags=tags,
            resume=folder / "run.json",
            shown=processes.first,
        ) as run,
    ):
        if processes.first:
            for sentence in (untested and f"no evaluation: {untested}", other_training(folder, facts)):
                if sentence:
                    typer.echo(sentence)
        log_dataset(run, name=settings.dataset, folder=at.raw() / settings.dataset, summary=summary)
        rows = train_to_end(
            trainer,
            folder=folder,
            eval_step=settings.train.eval_step,
            score=test or dict,
            tell=typer.echo,
            checkpoint_minutes=settings.train.checkpoint_minutes,
            settings=_made_by(settings),
            record=run.log_epoch,
            describe=partial(_quality, packed.split("train").pids),
        )
        if processes.first:
            save_model(at.MODEL / MODEL_FILE, student, trainer.teacher, settings=_made_by(settings))
            if test:
                with replacing(at.MODEL / BEST_FILE) as temporary:
                    shutil.copyfile(folder / BEST_FILE, temporary)
            settings.write(at.MODEL / "settings.yaml", *CARRIED)
            write_json(at.MODEL / "run.json", {"run_id": run.id, "name": name})
            with replacing(at.REPORTS / "training.csv") as temporary:
                _table(rows).to_csv(temporary, index=False)
            forget(folder)


def _table(rows: list[Row]) -> pd.DataFrame:
    """One row an epoch. The teacher's mAP has its column where there is no teacher too: DVC draws it by its name."""
    table = pd.DataFrame(rows)
    return table if "teacher_mAP" in table or "student_mAP" not in table else table.assign(teacher_mAP=float("nan"))


def _plan(settings: Settings, processes: distributed.Processes) -> Plan:
    numbers = {key: value for section in settings.as_dict(*NUMBERS).values() for key, value in section.items()}
    precision = settings.train.precision
    return Plan(
        epochs=settings.epochs,
        iters=settings.train.iters,
        seed=settings.seed,
        compile=settings.train.compile,
        precision=default_precision(processes.device) if precision == "auto" else precision,
        **numbers,
    )


def _made_by(settings: Settings) -> dict[str, Any]:
    """What a model carries: enough to build it again, to prepare images for it, and to tell how it was trained."""
    return settings.as_dict(*CARRIED)


def _score(trainer: Trainer, test: TestSet, best: Path, settings: Settings) -> dict[str, float]:
    """Scores of both networks, in the first process; the best ones of the run are kept in a file."""
    scores: dict[str, float] = {}
    for role, network in zip(ROLES, (trainer.student, trainer.teacher), strict=True):
        if network is None:
            continue
        features = test.embed(partial(trainer.embed, network))
        if trainer.processes.first:
            scores |= metrics(test.score(*features), f"{role}_")
    if trainer.processes.first:
        mean_aps = {role: scores[key] for role in ROLES if (key := f"{role}_mAP") in scores}
        save_best(
            best,
            trainer.student,
            trainer.teacher,
            mean_aps=mean_aps,
            epoch=trainer.epoch,
            settings=_made_by(settings),
        )
    return scores


def _quality(pids: np.ndarray | None, result: EpochResult) -> dict[str, float]:
    """How well the clusters of an epoch agree with the truth, where it is known: for people, never for the training."""
    return {} if pids is None else cluster_quality(result.labels, pids)


if __name__ == "__main__":
    stages.run(train)
