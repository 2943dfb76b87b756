"""Unsupervised training: clustering and cluster contrast, epoch by epoch."""

from contextlib import nullcontext

import typer

import stages
from pipeline.common import paths
from pipeline.common.files import read_json
from pipeline.common.precision import default_precision
from pipeline.config.load import Settings, check_processes
from pipeline.config.schema import TrainingSettings
from pipeline.datasets.packed_images import PackedImages, open_training_images
from pipeline.evaluation.training_curve import TrainingCurve
from pipeline.model.saved import BEST_FILE
from pipeline.model.starting_weights import starting_weights
from pipeline.tracking import tracked
from pipeline.tracking.inputs import log_dataset
from pipeline.training import distributed
from pipeline.training.fingerprint import fingerprint, held, other_training
from pipeline.training.interruption import InterruptedTrainingError, Interruption
from pipeline.training.outputs import facts_of, labels_of, write_outputs
from pipeline.training.session import train_to_end
from pipeline.training.setup import new_trainer


def train() -> None:
    """Trains student and, if the method has one, teacher on the images of the train split, without any identity.

    Reads params.yaml, data/prepared/ and data/pretrained/. Writes data/model/ (last and best networks with their
    settings, the MLflow run) and reports/training.csv (one row per epoch). Started by DVC or by hand, it starts
    `train.processes` of itself by torchrun. Interrupted, it goes on where it was when started again.
    """
    settings = stages.settings()
    if not distributed.launched():
        count = distributed.chosen_processes(settings.train.processes, groups=settings.num_groups)
        check_processes(settings, count)
        raise typer.Exit(distributed.launch("stages.train", processes=count))
    with distributed.told_to_launcher(), distributed.join() as processes:
        check_processes(settings, processes.size)
        try:
            _train(settings, processes)
        except InterruptedTrainingError as interrupted:
            raise typer.Exit(1) from interrupted


def _train(settings: Settings, processes: distributed.Processes) -> None:
    packed, summary = PackedImages(paths.PREPARED), read_json(paths.PREPARED / "summary.json")
    images, (weights, start) = open_training_images(paths.PREPARED), starting_weights(paths.PRETRAINED)
    decisive, interruption = settings.of_training(precision=default_precision(processes.device)), Interruption()
    trainer = new_trainer(decisive, images, weights=weights, processes=processes, interruption=interruption)
    facts = facts_of(decisive, data=summary["digest"], weights=start["sha256"])
    folder = paths.scratch() / fingerprint(facts)
    curve = TrainingCurve(packed, trainer.embed, best=folder / BEST_FILE, settings=decisive.as_dict())
    first, (name, tags) = processes.first, labels_of(decisive, data=summary["digest"], weights=start["name"])
    root, whole, resume, asked = paths.checkout(), settings.as_dict(), folder / "run.json", lambda: interruption.asked
    with (
        held(folder) if first else nullcontext(),
        interruption.watched(),
        tracked(root, name=name, settings=whole, tags=tags, resume=resume, shown=first, interrupted=asked) as run,
    ):
        for sentence in filter(None, (curve.why_empty, other_training(folder, facts)) if first else ()):
            typer.echo(sentence)
        log_dataset(run, name=settings.dataset, folder=paths.raw() / settings.dataset, summary=summary)
        rows = train_to_end(
            trainer,
            folder=folder,
            settings=decisive.as_dict(),
            eval_step=settings.train.eval_step,
            checkpoint_minutes=settings.train.checkpoint_minutes,
            score=lambda: curve.score(trainer.student, trainer.teacher, trainer.next_epoch, first=first),
            describe=curve.describe,
            record=run.log_epoch,
            say=typer.echo,
        )
        write_outputs(trainer, rows, folder=folder, run_id=run.id, name=name)


if __name__ == "__main__":
    stages.run(train, watched=tuple(TrainingSettings.model_fields))
