"""A run's model in MLflow's registry: it can be had by its name, once, and it needs nothing of this checkout."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.common.files import sha256
from pipeline.inference.embedder import Embedder
from pipeline.model import build
from pipeline.model.saved import save_model
from pipeline.tracking import Run, registry, start_run
from pipeline.tracking.registry import LOADER, REQUIREMENTS, register_model
from tests.test_structure import ROOT, closure, imported_names

# MLflow's own; it looks at its tables once per process, and at modules that are no part of this.
pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS: dict[str, Any] = {
    "backbone": "resnet10_w32",
    "model": {"pooling": "avg", "features": 8, "bn_group": 2},
    "image": {"height": 32, "width": 16},
}


@pytest.fixture
def checkout(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database, a lock file that names where packages came from, a model and three pictures."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    (tmp_path / "uv.lock").write_text('source = { registry = "registry.example" }')
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"')
    torch.manual_seed(1)
    networks = [build(SETTINGS["backbone"], **SETTINGS["model"]) for _ in range(2)]
    save_model(tmp_path / "model.safetensors", *networks, settings=SETTINGS)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 16, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    np.save(tmp_path / "expected.npy", Embedder(tmp_path / "model.safetensors").embed(pixels, "images"))
    return tmp_path


def register(
    run: Run, checkout: Path, name: str = "dccc-toy-resnet10_w32", *, data: str = "d1", **scores: float
) -> str:
    file = checkout / "model.safetensors"
    tags = {"role": "student", "data.digest": data}
    how: dict[str, Any] = {"num_features": 8, "example": "0.png", "tags": tags, "scores": scores}
    return register_model(run, file, name=name, digest=sha256(file), **how)


def test_registered_model_gives_the_embeddings_of_image_paths(checkout: Path) -> None:
    import mlflow.pyfunc
    from mlflow.artifacts import download_artifacts

    run = start_run(checkout, name="toy", settings={}, tags={})
    address = register(run, checkout)
    assert address == "models:/dccc-toy-resnet10_w32/1"
    (version,) = run.client.search_model_versions(f"run_id = '{run.id}'")
    assert version.tags["role"] == "student" and version.status == "READY"

    place = Path(download_artifacts(version.source, dst_path=str(checkout / "elsewhere")))
    served = mlflow.pyfunc.load_model(str(place))
    table = pd.DataFrame({"path": [str(checkout / f"{index}.png") for index in range(3)]})
    expected = np.load(checkout / "expected.npy")
    np.testing.assert_allclose(served.predict(table), expected, atol=1e-6)
    with pytest.raises(Exception, match="missing inputs"):
        served.predict(pd.DataFrame({"file": ["0.png"]}))
    assert served.metadata.signature.inputs.to_dict() == [{"type": "string", "name": "path", "required": True}]
    assert served.metadata.signature.outputs.inputs[0].shape == (-1, 8)
    example = served.input_example
    np.testing.assert_allclose(served.predict(example), expected[:1], atol=1e-6)

    # In another process, by the code beside the model, without this checkout and without MLflow.
    code = f"""
import sys, json
sys.path.insert(0, {str(place / "code")!r})
import numpy as np, pandas as pd, pipeline
from {LOADER} import _load_pyfunc
found = _load_pyfunc({str(place / "data" / "model.safetensors")!r}).predict(pd.read_json({table.to_json()!r}))
np.testing.assert_allclose(found, np.load({str(checkout / "expected.npy")!r}), atol=1e-6)
assert "mlflow" not in sys.modules
print(pipeline.__file__)
""".replace("pd.read_json(", "pd.DataFrame(json.loads(")
    code = code.replace("))\nnp.testing", ")))\nnp.testing", 1)
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(place / "code" / "pipeline" / "__init__.py")

    # Nothing that names where packages come from, or that is executed by being loaded.
    files = [path for path in place.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pyc", ".lock", ".toml")]
    described = "".join(path.read_text() for path in files if path.parent == place)
    assert "://" not in described and "registry" not in described
    assert json.loads((place / "input_example.json").read_text())["data"] == [["0.png"]]


def test_model_of_a_run_is_registered_once_and_each_run_is_a_version(checkout: Path) -> None:
    first, second = (start_run(checkout, name="toy", settings={}, tags={}) for _ in range(2))
    assert [register(first, checkout), register(first, checkout), register(second, checkout)] == [
        f"models:/dccc-toy-resnet10_w32/{number}" for number in (1, 1, 2)
    ]
    # The same run with other weights, as after a training that was repeated with other code.
    networks = [build(SETTINGS["backbone"], **SETTINGS["model"]) for _ in range(2)]
    save_model(checkout / "model.safetensors", *networks, settings=SETTINGS)
    assert register(first, checkout) == "models:/dccc-toy-resnet10_w32/3"


def test_version_carries_its_scores_and_the_best_on_the_newest_data_has_the_alias(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "save_pyfunc", lambda place, *_, **__: place.mkdir())
    runs = [start_run(checkout, name="toy", settings={}, tags={}) for _ in range(5)]
    client, entry = runs[0].client, "dccc-toy-resnet10_w32"

    def best() -> str:
        return str(client.get_model_version_by_alias(entry, "best").version)

    register(runs[0], checkout)
    assert client.get_registered_model(entry).aliases == {}, "without a score there is no best one"
    register(runs[1], checkout, mAP=0.40372, rank1=0.6)
    tags = client.get_model_version(entry, "2").tags
    assert (tags["mAP"], tags["Rank-1"], tags["role"]) == ("0.4037", "0.6", "student")
    assert best() == "2"
    register(runs[2], checkout, mAP=0.3)
    assert best() == "2", "a newer version that is worse"
    register(runs[3], checkout, mAP=0.40372)
    assert best() == "2", "an equal one that is newer"
    register(runs[4], checkout, data="d2", mAP=0.2)
    assert best() == "5", "scores on other data cannot be compared"
    register(runs[2], checkout, mAP=0.5)
    assert best() == "3" and client.get_model_version(entry, "3").tags["mAP"] == "0.5", "an evaluation made again"


def test_name_of_a_model_has_no_slash(checkout: Path) -> None:
    run = start_run(checkout, name="toy", settings={}, tags={})
    assert register(run, checkout, "dccc-toy-timm/vit:small") == "models:/dccc-toy-timm-vit-small/1"


def test_requirements_are_what_the_served_code_imports() -> None:
    loader = ROOT.joinpath(*LOADER.split(".")).with_suffix(".py")
    modules = {name.split(".")[0] for file in closure(loader) for name in imported_names(file)}
    foreign = modules - set(sys.stdlib_module_names) - {"pipeline"}
    known = packages_distributions()
    needed = {known[module][0].lower().replace("_", "-") for module in foreign}
    assert needed <= set(REQUIREMENTS)
    # MLflow does the serving; timm is asked for backbones by name.
    assert set(REQUIREMENTS) - needed <= {"mlflow", "timm"}


def test_requirements_name_the_runtime_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(package: str) -> str:
        if package == "onnxruntime-gpu":
            return "1.32.0+cu13"
        raise PackageNotFoundError(package)

    monkeypatch.setattr(registry, "version", installed)
    assert registry._pinned("onnxruntime") == "onnxruntime-gpu==1.32.0"
    with pytest.raises(PackageNotFoundError, match="torch"):
        registry._pinned("torch")
