"""One of the processes that train together: how trainer, evaluation and tracking are wired."""

import sys
from contextlib import nullcontext

import typer

from pipeline.common import paths
from pipeline.common.files import read_json
from pipeline.common.precision import precision_on
from pipeline.config.load import Settings
from pipeline.datasets.packed_images import PackedImages, open_training_images
from pipeline.evaluation.training_curve import TrainingCurve, epoch_line
from pipeline.model.saved import BEST_FILE, DATA_NAME
from pipeline.model.starting_weights import starting_weights
from pipeline.tracking import tracked
from pipeline.tracking.inputs import log_dataset
from pipeline.tracking.provenance import revision
from pipeline.training import distributed
from pipeline.training.calibration import thresholds_of
from pipeline.training.fingerprint import fingerprint, held, other_training
from pipeline.training.interruption import Interruption
from pipeline.training.outputs import facts_of, labels_of, write_outputs
from pipeline.training.session import train_to_end
from pipeline.training.setup import new_trainer, remarks


def train_in_process(settings: Settings, processes: distributed.Processes, interruption: Interruption) -> None:
    """This process's part of the stage `train`, from the prepared images to the outputs.

    Raises:
        InterruptedTrainingError: it was asked to stop; a checkpoint is there.
    """
    packed, summary = PackedImages(paths.PREPARED), read_json(paths.PREPARED / "summary.json")
    images, (weights, start) = open_training_images(paths.PREPARED), starting_weights(paths.PRETRAINED)
    precision = precision_on(processes.device, settings.train.precision)
    decisive = settings.of_training(precision=precision)
    trainer = new_trainer(
        decisive,
        images,
        weights=weights,
        processes=processes,
        interruption=interruption,
        recorded=settings.train.cuda_graphs,
    )
    links = summary.get("links", {}).get("digest")
    facts = facts_of(decisive, data=summary["digest"], weights=start["sha256"], links=links)
    folder = paths.scratch() / fingerprint(facts)
    kept = {**decisive.as_dict(), DATA_NAME: settings.data_name}
    curve = TrainingCurve(packed, trainer.embed, best=folder / BEST_FILE, settings=kept)
    first, digest = processes.first, summary["digest"]
    name, tags = labels_of(decisive, data_name=settings.data_name, data=digest, weights=start["name"])
    root, whole, resume, asked = paths.checkout(), settings.as_dict(), folder / "run.json", lambda: interruption.asked
    with (
        held(folder) if first else nullcontext(),
        interruption.watched(),
        tracked(root, name=name, settings=whole, tags=tags, resume=resume, shown=first, interrupted=asked) as run,
    ):
        neighbours = decisive.clustering.neighbours
        said = (curve.why_empty, trainer.why_unweighted, other_training(folder, facts))
        for sentence in filter(None, (*said, *remarks(trainer, neighbours=neighbours)) if first else ()):
            typer.echo(sentence)
        log_dataset(run, name=settings.data_name, folder=paths.raw() / settings.data_folder, summary=summary)
        rows = train_to_end(
            trainer,
            folder=folder,
            settings=kept,
            eval_step=settings.train.eval_step,
            checkpoint_minutes=settings.train.checkpoint_minutes,
            score=lambda: curve.score(trainer.student, trainer.teacher, trainer.next_epoch, first=first),
            describe=curve.describe,
            record=run.log_epoch,
            tell=lambda row: None if sys.stderr.isatty() else typer.echo(epoch_line(row, epochs=decisive.epochs)),
            say=typer.echo,
        )
        thresholds = thresholds_of(trainer, say=typer.echo)
        made = {"run_id": run.id, "name": name, "revision": revision()}
        write_outputs(trainer, rows, kept, thresholds=thresholds, folder=folder, **made)
