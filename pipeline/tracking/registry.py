"""The model of a run in MLflow's registry: one entry per name, one version per training.

What is registered is the model's file, the code of `pipeline` and the name of the module that opens it
(`pipeline.inference.mlflow_model`). Nothing is pickled, and loading executes nothing but that module.
"""

import logging
import os
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import pipeline
from pipeline.evaluation.metrics import MAIN, heading_of
from pipeline.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LOADER = "pipeline.inference.mlflow_model"
# What that module imports; it is listed at the versions that are installed here.
REQUIREMENTS = (
    "mlflow",
    "numba",
    "numpy",
    "onnxruntime",
    "pandas",
    "pillow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "threadpoolctl",
    "timm",
    "torch",
    "torchvision",
    "tqdm",
)
_FOR_A_GPU = {"onnxruntime": "onnxruntime-gpu"}  # the same modules, where the user has put them in place
FOLDER = "model"  # of the run's artifacts
BEST = "best"  # alias of one version of an entry
# MLflow would put a uv.lock of the current folder beside the model, which names where its packages came from.
os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"


def register_model(
    run: Run,
    file: Path,
    *,
    name: str,
    digest: str,
    num_features: int,
    example: str,
    tags: Mapping[str, str],
    scores: Mapping[str, float],
) -> str:
    """Puts a model into its run, and makes it the newest version of `name`, unless the run's model is one already.

    The alias `best` of `name` then stands for one of the versions, see `_mark_best`.

    `mlflow models predict` and `mlflow.pyfunc.load_model` then turn a table with the column `path` into embeddings.

    Args:
        run: that the model came from.
        file: of the model.
        name: of the entry; characters that MLflow refuses become hyphens.
        digest: SHA-256 of the file.
        num_features: D, the width of its embeddings.
        example: path of an image.
        tags: of the version; `data.digest` says which data its scores are of.
        scores: of the model, as reports/summary.json holds them; they become tags too, named as in the report.

    Returns:
        the model's address, `models:/<name>/<version>`.

    Raises:
        UserError: MLflow does not answer.
    """
    name = name.replace("/", "-").replace(":", "-")
    with run.answering():
        known = run.client.search_model_versions(f"name = '{name}' and run_id = '{run.id}'")
    tags = {**tags, "sha256": digest, **{heading_of(key): f"{value:.4g}" for key, value in scores.items()}}
    for each in known:
        if each.tags.get("sha256") == digest:
            with run.answering():
                _update_tags(run.client, each, tags)
                _mark_best(run.client, name, data=tags.get("data.digest"))
            return f"models:/{name}/{each.version}"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / FOLDER
        save_pyfunc(place, file, num_features=num_features, example=example, run_id=run.id)
        run.log_artifact(place, FOLDER)
    with run.answering():
        _create_entry(run.client, name)
        source = f"{run.client.get_run(run.id).info.artifact_uri}/{FOLDER}"
        made = run.client.create_model_version(name, source, run_id=run.id, tags=tags)
        _mark_best(run.client, name, data=tags.get("data.digest"))
    return f"models:/{name}/{made.version}"


def _update_tags(client: "MlflowClient", version: "ModelVersion", tags: Mapping[str, str]) -> None:
    """Gives a version the scores of an evaluation that was made again."""
    for key, value in tags.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(version.name, version.version, key, value)


def _mark_best(client: "MlflowClient", name: str, *, data: str | None) -> None:
    """Points the alias `best` of `name` to the version with the highest mAP on this data, of equal ones the earliest.

    The rule is written down in docs/tracking.md. Versions of other data, and those without a score, do not count.
    """
    scored = [
        version
        for version in client.search_model_versions(f"name = '{name}'")
        if version.tags.get("data.digest") == data and MAIN.heading in version.tags
    ]
    if scored:
        best = max(scored, key=lambda version: (float(version.tags[MAIN.heading]), -int(version.version)))
        client.set_registered_model_alias(name, BEST, best.version)


def registered_name(settings: Mapping[str, Any]) -> str:
    """The entry that models of these settings are versions of: `dccc-market1501-resnet50`."""
    return f"{settings.get('method', 'dccc')}-{settings['dataset']}-{settings['backbone']}"


def save_pyfunc(place: Path, file: Path, *, num_features: int, example: str, run_id: str | None = None) -> None:
    """Writes the folder of an MLflow model; see `register_model`."""
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    for chatty in ("mlflow.pyfunc", "mlflow.utils.environment"):  # that it checks the example, that there is no pip
        logging.getLogger(chatty).setLevel(logging.ERROR)
    embeddings = TensorSpec(np.dtype("float32"), (-1, num_features), "embeddings")
    mlflow.pyfunc.save_model(
        place,
        mlflow_model=Model(artifact_path=FOLDER, run_id=run_id),
        loader_module=LOADER,
        data_path=str(file),
        code_paths=[str(Path(pipeline.__file__).parent)],
        signature=ModelSignature(Schema([ColSpec("string", "path")]), Schema([embeddings])),
        input_example=pd.DataFrame({"path": [example]}),
        pip_requirements=[_pinned(package) for package in REQUIREMENTS],
    )


def _pinned(package: str) -> str:
    try:
        found = version(package)
    except PackageNotFoundError:
        if package not in _FOR_A_GPU:
            raise
        return _pinned(_FOR_A_GPU[package])
    return f"{package}=={found.split('+')[0]}"  # without the build (+cu130), which no index may have


def _create_entry(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
