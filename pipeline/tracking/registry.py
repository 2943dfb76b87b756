"""The model of a run in MLflow's registry: an entry for a name, a version for each training.

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
from pipeline.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
_FOR_A_GPU = {"onnxruntime": "onnxruntime-gpu"}  # the same modules, where a person has put them in place
FOLDER = "model"  # of the run's artifacts
# MLflow would put a uv.lock of the current folder beside the model, which names where its packages came from.
os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"


def register_model(
    run: Run, file: Path, *, name: str, digest: str, num_features: int, example: str, tags: Mapping[str, str]
) -> str:
    """Puts a model into its run, and makes it the newest version of `name`, unless the run's model is one already.

    `mlflow models predict` and `mlflow.pyfunc.load_model` then turn a table with the column `path` into embeddings.

    Args:
        run: that the model came from.
        file: of the model.
        name: of the entry; characters that MLflow refuses become hyphens.
        digest: SHA-256 of the file.
        num_features: D, the width of its embeddings.
        example: path of an image.
        tags: of the version.

    Returns:
        the model's address, `models:/<name>/<version>`.

    Raises:
        UserError: MLflow does not answer.
    """
    name = name.replace("/", "-").replace(":", "-")
    with run.answering():
        known = run.client.search_model_versions(f"name = '{name}' and run_id = '{run.id}'")
    for each in known:
        if each.tags.get("sha256") == digest:
            return f"models:/{name}/{each.version}"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / FOLDER
        save_pyfunc(place, file, num_features=num_features, example=example, run_id=run.id)
        run.log_artifact(place, FOLDER)
    with run.answering():
        _create_entry(run.client, name)
        source = f"{run.client.get_run(run.id).info.artifact_uri}/{FOLDER}"
        made = run.client.create_model_version(name, source, run_id=run.id, tags={**tags, "sha256": digest})
    return f"models:/{name}/{made.version}"


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
