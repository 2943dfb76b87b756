"""An exported network computes what PyTorch computes, tells how to use it, or is not written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.datasets.augment import normalise
from pipeline.inference import onnx_export
from pipeline.inference.onnx_export import OPSET, export_onnx
from pipeline.inference.onnx_metadata import Metadata
from pipeline.inference.onnx_precision import PRECISIONS
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.model import BACKBONES, POOLINGS
from tests.inference.conftest import FEATURES, HEIGHT, WIDTH, Exported, images_of, network_of, settings_of

# One block a stage, thin: what the families differ in, and not what they repeat.
FAMILIES = ("resnet18", "resnet50", "resnet_ibn50a")


def embedded(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(normalise(torch.from_numpy(images))).numpy()


def test_families_are_those_of_the_backbones() -> None:
    assert {(b.block, b.ibn) for b in BACKBONES.values()} == {
        (BACKBONES[name].block, BACKBONES[name].ibn) for name in FAMILIES
    }


@pytest.mark.parametrize(
    ("backbone", "pooling", "features"),
    [
        *((backbone, "avg", 0) for backbone in FAMILIES[1:]),
        *(("resnet18", pooling, FEATURES) for pooling in POOLINGS),
    ],
)
def test_export_agrees_with_pytorch_for_any_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: str, pooling: str, features: int
) -> None:
    small = dataclasses.replace(BACKBONES[backbone], layers=(1, 1, 1, 1), width=8)
    monkeypatch.setitem(BACKBONES, "small", small)
    settings = settings_of("small", pooling=pooling, features=features)
    network = network_of(settings)
    found = export_onnx(tmp_path / "m.onnx", network, images_of(5), role="student", settings=settings)
    assert 0 <= found.difference < 1e-5 and found.cosine > 0.99999 and found.loss is None
    exported = OnnxNetwork(tmp_path / "m.onnx")
    assert exported.num_features == network.num_features
    for number in (1, 2, 3, 7):
        images = images_of(number)
        expected = embedded(network, images)
        assert len(np.unique(expected.round(3), axis=0)) == number  # it tells them apart
        np.testing.assert_allclose(exported.embed(images), expected, atol=1e-5)


def test_export_is_one_current_file_that_other_programs_read(exported: Exported) -> None:
    assert list(exported.path.parent.iterdir()) == [exported.path]
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    (image,), (embedding,) = model.graph.input, model.graph.output
    shape = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert image.name == "images" and embedding.name == "embeddings"
    assert isinstance(shape[0], str) and shape[1:] == [3, HEIGHT, WIDTH]
    assert embedding.type.tensor_type.shape.dim[1].dim_value == FEATURES


def test_export_tells_role_settings_and_preprocessing_as_json(exported: Exported) -> None:
    texts = {each.key: json.loads(each.value) for each in onnx.load(exported.path).metadata_props}
    assert set(texts) == {"format", "role", "settings", "preprocessing", "precision", "agreement"}
    assert texts["role"] == "teacher" and texts["settings"] == exported.settings
    # What it says is enough to embed a picture without this project.
    prepare = texts["preprocessing"]
    assert (prepare["height"], prepare["width"]) == (HEIGHT, WIDTH)
    assert (prepare["colour_order"], prepare["layout"]) == ("RGB", "NCHW")
    assert prepare["interpolation"].startswith("bicubic")
    pixels = images_of(3).astype(np.float32)
    images = (pixels * prepare["scale"] - prepare["mean"]) / prepare["std"]
    found = OnnxNetwork(exported.path)(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32))
    np.testing.assert_allclose(found, embedded(exported.network, images_of(3)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_export_names_no_file_of_this_machine(exported: Exported) -> None:
    content = exported.path.read_bytes()
    for trace in (b".py", b"site-packages", str(Path(__file__).parents[2]).encode()):
        assert trace not in content


class Shifted:
    """What ONNX Runtime gives, moved by a little."""

    def __init__(self, by: float) -> None:
        self._by = by

    def __call__(self, path: Path, **options: Any) -> Any:
        network = OnnxNetwork(path, **options)
        right = network.embed
        network.embed = lambda images: right(images) + np.float32(self._by)  # type: ignore[method-assign,assignment,misc]
        return network


@pytest.mark.parametrize("by", [2 * PRECISIONS["fp32"].difference, float("nan")])
@pytest.mark.parametrize("before", [None, b"the one before"])
def test_export_that_differs_leaves_no_file(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float, before: bytes | None
) -> None:
    path = tmp_path / "m.onnx"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(onnx_export, "OnnxNetwork", Shifted(by))
    monkeypatch.setattr(onnx_export, "_serialised", lambda *_: exported.path.read_bytes())
    with pytest.raises(UserError, match=r"m.onnx is not written: its embeddings differ from PyTorch's by (2|nan)"):
        export_onnx(path, exported.network, images_of(2), role="teacher", settings=exported.settings)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if before is None else [before])


def test_export_of_more_than_a_file_can_hold_is_refused(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="the student has 0.0 GiB of weights, and an ONNX file can hold 2 GiB"):
        export_onnx(tmp_path / "m", exported.network, images_of(1), role="student", settings=exported.settings)
    assert list(tmp_path.iterdir()) == []


def test_metadata_knows_the_size() -> None:
    assert Metadata("student", settings_of()).size == (HEIGHT, WIDTH)
