"""Unsupervised training: clustering and cluster contrast, epoch by epoch."""

import typer

import stages
from pipeline.config.load import check_processes
from pipeline.config.schema import TrainingSettings


def train() -> None:
    """Trains student and, if the method has one, teacher on the images of the train split, without any identity.

    Reads params.yaml, data/prepared/ and data/pretrained/. Writes data/model/ (last and best networks with their
    settings, the MLflow run) and reports/training.csv (one row per epoch). Started by DVC or by hand, it starts
    `train.processes` of itself by torchrun, if more than one. Interrupted, it goes on where it was when started again.
    """
    from pipeline.training import distributed
    from pipeline.training.failures import explained
    from pipeline.training.interruption import InterruptedTrainingError, Interruption

    settings = stages.settings()
    if not distributed.launched():
        count = distributed.chosen_processes(settings.train.processes, groups=settings.num_groups)
        check_processes(settings, count)
        if count > 1:
            raise typer.Exit(distributed.launch("stages.train", processes=count))
    from stages.train_process import train_in_process  # here: seconds, which the process that starts all need not spend

    interruption = Interruption()
    with distributed.told_to_launcher(), distributed.join() as processes:
        check_processes(settings, processes.size)
        try:
            with explained():
                train_in_process(settings, processes, interruption)
        except InterruptedTrainingError as interrupted:
            # None: it was another process that a signal asked.
            raise typer.Exit(1 if interruption.signal is None else 128 + interruption.signal) from interrupted


if __name__ == "__main__":
    stages.run(train, watched=tuple(TrainingSettings.model_fields))
