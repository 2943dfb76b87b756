"""Unsupervised training: clustering and cluster contrast, epoch by epoch."""

import copy
from contextlib import nullcontext

import typer

import stages
from pipeline.common import paths
from pipeline.common.files import read_json
from pipeline.common.precision import default_precision
from pipeline.common.seeding import seed_everything
from pipeline.config.load import Settings, check_processes
from pipeline.config.schema import TrainingSettings
from pipeline.datasets.packed_images import PackedImages, open_training_images
from pipeline.evaluation.training_curve import TrainingCurve
from pipeline.model.saved import BEST_FILE, build_of
from pipeline.model.starting_weights import starting_weights
from pipeline.tracking import tracked
from pipeline.tracking.inputs import log_dataset
from pipeline.training import distributed
from pipeline.training.fingerprint import fingerprint, held, other_training
from pipeline.training.interruption import InterruptedTrainingError, Interruption
from pipeline.training.outputs import facts_of, tags_of, write_outputs
from pipeline.training.session import train_to_end
from pipeline.training.trainer import Trainer


def train() -> None:
    """Trains student and, if the method has one, teacher on the images of the train split, without any identity.

    Reads params.yaml, data/prepared/ and data/pretrained/. Writes data/model/: model.safetensors (the networks,
    with their settings), best.safetensors (each as it was when it scored highest), run.json (the MLflow run) and
    settings.yaml; and reports/training.csv (one row per epoch).
    Started by DVC or by hand, it starts `train.processes` of itself by torchrun; started by torchrun, it is one.
    Interrupted, it goes on where it was when started again with the same settings, data and weights.
    """
    settings = stages.settings()
    if not distributed.launched():
        raise typer.Exit(distributed.launch("stages.train", processes=_num_processes(settings)))
    with distributed.told_to_launcher(), distributed.join() as processes:
        check_processes(settings, processes.size)
        try:
            _train(settings, processes)
        except InterruptedTrainingError as interrupted:
            raise typer.Exit(1) from interrupted


def _num_processes(settings: Settings) -> int:
    wanted = settings.train.processes
    groups = settings.sampler.batch // settings.model.bn_group
    count = distributed.default_processes(groups) if wanted == "auto" else wanted
    check_processes(settings, count)
    return count


def _train(settings: Settings, processes: distributed.Processes) -> None:
    images, packed = open_training_images(paths.PREPARED), PackedImages(paths.PREPARED)
    weights, start = starting_weights(paths.PRETRAINED)
    decisive = settings.of_training(precision=default_precision(processes.device))
    seed_everything(settings.seed, deterministic=settings.train.deterministic)
    student = build_of(decisive.as_dict(), weights=weights).to(processes.device)
    interruption = Interruption()
    trainer = Trainer(
        student,
        copy.deepcopy(student) if decisive.has_teacher else None,
        images=images.images,
        cameras=images.camids,
        settings=decisive,
        processes=processes,
        interruption=interruption,
    )
    summary = read_json(paths.PREPARED / "summary.json")
    facts = facts_of(decisive, data=summary["digest"], weights=start["sha256"])
    folder = paths.scratch() / fingerprint(facts)
    curve = TrainingCurve(packed, trainer.embed, best=folder / BEST_FILE, settings=decisive.as_dict())
    name = f"{settings.dataset} {settings.method} {settings.backbone} seed {settings.seed}"
    with (
        held(folder) if processes.first else nullcontext(),
        interruption.watched(),
        tracked(
            paths.checkout(),
            name=name,
            settings=settings.as_dict(),
            tags=tags_of(decisive, data=summary["digest"], weights=start["name"]),
            resume=folder / "run.json",
            shown=processes.first,
        ) as run,
    ):
        if processes.first:
            for sentence in (curve.why_empty, other_training(folder, facts)):
                if sentence:
                    typer.echo(sentence)
        log_dataset(run, name=settings.dataset, folder=paths.raw() / settings.dataset, summary=summary)
        rows = train_to_end(
            trainer,
            folder=folder,
            eval_step=settings.train.eval_step,
            score=lambda: curve.score(trainer.student, trainer.teacher, trainer.next_epoch, first=processes.first),
            say=typer.echo,
            checkpoint_minutes=settings.train.checkpoint_minutes,
            settings=decisive.as_dict(),
            record=run.log_epoch,
            describe=curve.describe,
        )
        if processes.first:
            write_outputs(trainer, rows, folder=folder, run_id=run.id, name=name)


if __name__ == "__main__":
    stages.run(train, watched=tuple(TrainingSettings.model_fields))
