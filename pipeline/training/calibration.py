"""The thresholds of a finished training: from which cosine on two images show one individual."""

from collections.abc import Callable

from pipeline.clustering.same_or_different import calibrated
from pipeline.common.errors import UserError
from pipeline.model.thresholds import Thresholds
from pipeline.training.interruption import InterruptedTrainingError
from pipeline.training.trainer import Trainer


def thresholds_of(trainer: Trainer, *, say: Callable[[str], object] = print) -> dict[str, Thresholds]:
    """Role -> thresholds of each network, by the clusters that the student finds at the end.

    Called in every process; empty in all but the first, and where there are no two clusters.

    Args:
        trainer: at its end.
        say: called in the first process with a sentence for the user.

    Raises:
        InterruptedTrainingError: the training was asked to stop; the checkpoint of its last epoch is there.
    """
    try:
        return _thresholds_of(trainer, say)
    except InterruptedTrainingError:
        if trainer.processes.first:
            epochs = trainer.settings.epochs
            say(
                f"interrupted in epoch {epochs} of {epochs}, which is finished: start the same command again to go on "
                "from there"
            )
        raise


def _thresholds_of(trainer: Trainer, say: Callable[[str], object]) -> dict[str, Thresholds]:
    networks = {"student": trainer.student, "teacher": trainer.teacher}
    features = {
        role: trainer.embed_training_images(network, f"thresholds, {role}").numpy()
        for role, network in networks.items()
        if network is not None
    }
    if not trainer.processes.first:
        return {}
    try:
        labels = trainer.method.cluster(features["student"], epoch=trainer.settings.epochs - 1).labels
    except UserError as error:  # the training is done: its networks are worth more than this
        say(f"the model carries no thresholds: {error}")
        return {}
    found = {role: calibrated(each, labels, cameras=trainer.cameras) for role, each in features.items()}
    return {role: thresholds for role, thresholds in found.items() if thresholds is not None}
