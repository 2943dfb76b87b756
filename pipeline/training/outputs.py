"""What a finished training leaves: the networks with their settings, the table of its epochs, and what it is called."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common import paths
from pipeline.common.files import replacing, write_json
from pipeline.config.schema import TrainingSettings
from pipeline.model.checkpoint import FINISHED, delete_checkpoints
from pipeline.model.saved import BEST_FILE, MODEL_FILE, save_model
from pipeline.model.thresholds import KEY, Thresholds
from pipeline.training.machine import describe_machine
from pipeline.training.trainer import Trainer


def facts_of(settings: TrainingSettings, *, data: str, weights: str | None, links: str | None = None) -> dict[str, Any]:
    """Everything that decides the outcome of a training, as plain values: what its fingerprint is made of."""
    facts = {**settings.as_dict(), "data": data, "weights": weights}
    return facts if links is None else {**facts, "links": links}


def labels_of(
    settings: TrainingSettings, *, data_name: str, data: str, weights: str | None
) -> tuple[str, dict[str, str]]:
    """The name of a run, and the tags that tell runs apart where they are listed.

    Args:
        settings: of the training.
        data_name: what people call the data set.
        data: its digest.
        weights: name of what it starts from, None for random ones.
    """
    name = f"{data_name} {settings.method} {settings.backbone} seed {settings.seed}"
    tags = {
        "dataset": data_name,
        "method": settings.method,
        "backbone": settings.backbone,
        "seed": str(settings.seed),
        "data.digest": data,
        "precision": settings.train.precision,
        "weights": str(weights),
    }
    return name, tags


def write_outputs(
    trainer: Trainer,
    rows: Sequence[Mapping[str, float]],
    settings: Mapping[str, Any],
    *,
    thresholds: Mapping[str, Thresholds],
    folder: Path,
    run_id: str | None,
    name: str,
    revision: str,
) -> None:
    """Writes data/model/ and reports/training.csv in the first process; see the stage `train`.

    Args:
        trainer: at its end.
        rows: one per epoch.
        settings: of the training, and what else the model file says of it.
        thresholds: of each network.
        folder: of the checkpoints, which stay until DVC has recorded the outputs (`delete_recorded`): a command that
            is killed in between finds the finished training again. With the best networks, where any were evaluated.
        run_id: of the MLflow run.
        name: of the run.
        revision: of the code, for people.
    """
    if not trainer.processes.first:
        return
    found = {"kept": trainer.method.kept(), KEY: {role: each.as_settings() for role, each in thresholds.items()}}
    save_model(paths.MODEL / MODEL_FILE, trainer.student, trainer.teacher, settings={**settings, **found})
    if (folder / BEST_FILE).is_file():
        with replacing(paths.MODEL / BEST_FILE) as temporary:
            shutil.copyfile(folder / BEST_FILE, temporary)
    trainer.settings.write(paths.MODEL / "settings.yaml")
    made = {"finished": _now(), "revision": revision, "machine": describe_machine(trainer.processes)}
    write_json(paths.MODEL / "run.json", {"run_id": run_id, "name": name, "fingerprint": folder.name, **made})
    with replacing(paths.REPORTS / "training.csv") as temporary:
        _table(rows).to_csv(temporary, index=False)
    for other in folder.parent.glob(f"*/{FINISHED}"):  # of trainings whose outputs nobody asked for again
        delete_checkpoints(other.parent)
    (folder / FINISHED).touch()


def _now() -> str:
    """The date and the minute, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _table(rows: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """One row per epoch. The teacher's mAP has its column where there is no teacher too: DVC draws it by its name."""
    table = pd.DataFrame(rows)
    return table if "teacher_mAP" in table or "student_mAP" not in table else table.assign(teacher_mAP=float("nan"))
