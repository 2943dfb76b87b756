"""An exported network is opened with what it carries, where it was told to run, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.inference import onnx_runtime
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.model.embedding import CHUNK, embed
from tests.inference.conftest import FEATURES, HEIGHT, WIDTH, Exported, images_of

Change = Callable[[dict[str, str | None]], Path]


def refused(path: Path, match: str, **options: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        OnnxNetwork(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_network_embeds_more_than_a_chunk_as_torch_does(exported: Exported) -> None:
    images = images_of(CHUNK + 3)
    done: list[int] = []
    found = OnnxNetwork(exported.path).embed(images, advance=done.append)
    expected = embed(exported.network, images, device=torch.device("cpu")).numpy()
    assert found.dtype == np.float32 and done == [CHUNK, 3]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_network_of_no_images_gives_none(exported: Exported) -> None:
    assert OnnxNetwork(exported.path).embed(images_of(0)).shape == (0, FEATURES)


def test_network_knows_what_it_is(exported: Exported) -> None:
    opened = OnnxNetwork(exported.path)
    assert opened.metadata.role == "teacher" and opened.metadata.settings == exported.settings
    assert opened.metadata.size == (HEIGHT, WIDTH) and opened.num_features == FEATURES


def test_missing_file_says_which_command_makes_it(tmp_path: Path) -> None:
    refused(tmp_path / "m.onnx", r"m\.onnx is missing: run `python -m stages.export` first")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_file_is_damaged(exported: Exported, tmp_path: Path, share: float) -> None:
    content = exported.path.read_bytes()
    (tmp_path / "m.onnx").write_bytes(content[: int(share * len(content))])
    refused(tmp_path / "m.onnx", r"m\.onnx (cannot be opened, it is damaged or no ONNX file|was not written by)")


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xff" * 100)
    refused(tmp_path / "m.onnx", "cannot be opened, it is damaged or no ONNX file")


def test_file_of_another_program_is_foreign(changed: Change) -> None:
    refused(changed({"settings": None, "role": None}), "was not written by .*: its metadata lack role, settings")


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        ({"settings": "{"}, "is damaged: its metadata cannot be read"),
        ({"format": "2"}, "is of format 2, where 1 can be read: export it again"),
        ({"settings": '{"image": {"height": 32, "width": 16}}'}, "settings in its metadata lack backbone, model"),
    ],
)
def test_metadata_that_cannot_be_trusted_are_refused(changed: Change, texts: dict[str, str], match: str) -> None:
    refused(changed({**texts}), match)


def test_other_preprocessing_is_refused_and_named(changed: Change, exported: Exported) -> None:
    (told,) = [each.value for each in onnx.load(exported.path).metadata_props if each.key == "preprocessing"]
    other = json.dumps(json.loads(told) | {"mean": [0.5, 0.5, 0.5], "colour_order": "BGR"})
    refused(changed({"preprocessing": other}), r"in another way than this version \(colour_order, mean\)")


def test_size_that_does_not_fit_the_graph_is_refused(changed: Change, exported: Exported) -> None:
    from pipeline.inference.onnx_metadata import Metadata

    settings: dict[str, Any] = {**exported.settings, "image": {"height": 64, "width": 16}}
    refused(changed({**Metadata("teacher", settings).as_text()}), "is damaged: its input .* is not of the size")


def test_unknown_provider_is_named(exported: Exported) -> None:
    with pytest.raises(ValueError, match="provider must be auto or one of cpu, cuda, tensorrt, got 'tpu'"):
        OnnxNetwork(exported.path, provider="tpu")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_provider_that_is_not_installed_is_refused(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    refused(exported.path, rf"has no {provider} \(it has cpu\): install onnxruntime-gpu in place of", provider=provider)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is one")
def test_provider_that_does_not_start_is_refused_and_not_replaced(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: installed)
    refused(exported.path, "cannot start cuda here, its libraries are missing: take cpu", provider="cuda")


@pytest.mark.parametrize(
    ("gpu", "installed", "chosen"),
    [(True, ["CUDA", "CPU"], "cuda"), (False, ["Tensorrt", "CUDA", "CPU"], "cpu"), (True, ["CPU"], "cpu")],
)
def test_auto_takes_a_gpu_that_both_can_use(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, installed: list[str], chosen: str
) -> None:
    monkeypatch.setattr(onnx_runtime, "num_gpus", lambda: int(gpu))
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [f"{name}ExecutionProvider" for name in installed]
    )
    assert onnx_runtime._chosen("auto") == chosen
