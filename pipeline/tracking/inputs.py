"""The data set of a run, in MLflow's list of data sets: which images a training saw."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.tracking.runs import NoRun, Run

# MLflow's own limits, in characters.
_NAME, _DIGEST = 500, 36


def log_dataset(
    run: Run | NoRun, *, name: str, folder: Path, summary: Mapping[str, Any], context: str = "training"
) -> None:
    """Adds the data set to the inputs of a run; one that is there already stays.

    Args:
        run: of the training; a `NoRun` records nothing.
        name: of the data set.
        folder: its images as they came, below data/raw/.
        summary: of the packed images: `digest`, `height`, `width`, and `splits` with their numbers.
        context: what it was used for.
    """
    if isinstance(run, NoRun):
        return
    from mlflow.entities import Dataset, DatasetInput, InputTag

    size = [summary["height"], summary["width"], 3]
    dataset = Dataset(
        name=name[:_NAME],
        digest=summary["digest"][:_DIGEST],
        source_type="local",
        source=json.dumps({"uri": str(folder)}),
        schema=json.dumps(_schema(size)),
        profile=json.dumps({"num_rows": summary["images"], "splits": summary["splits"], "image": size}),
    )
    used = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
    with run.answering():
        run.client.log_inputs(run.id, datasets=[used])


def _schema(size: list[int]) -> dict[str, Any]:
    """What a training reads of an image, in MLflow's form: the pixels and the camera, and no identity."""
    image = {"name": "image", "type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *size]}}
    camera = {"name": "camid", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}
    return {"mlflow_tensorspec": {"features": json.dumps([image, camera]), "targets": None}}
