"""A model's file is all that is needed to embed images as the training did."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.inference.embedder import ROLES, Embedder
from pipeline.inference.onnx_export import export_onnx
from pipeline.model import build
from pipeline.model.checkpoint import save_checkpoint
from pipeline.model.embedding import embed
from pipeline.model.saved import save_model

SETTINGS: dict[str, Any] = {
    "backbone": "resnet10_w32",
    "model": {"pooling": "avg", "features": 8, "bn_group": 2},
    "image": {"height": 32, "width": 16},
}


@pytest.mark.parametrize("role", ROLES)
def test_embedder_embeds_as_the_network_that_was_saved(tmp_path: Path, role: str) -> None:
    torch.manual_seed(1)
    networks = {name: build("resnet10_w32", pooling="avg", features=8, bn_group=2) for name in ROLES}
    path = tmp_path / "model.safetensors"
    save_model(path, *networks.values(), settings=SETTINGS)
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 16, 3), dtype=np.uint8)
    opened = Embedder(path, role=role)
    expected = embed(networks[role], images, device=torch.device("cpu")).numpy()
    np.testing.assert_array_equal(opened.embed(images, "crops"), expected)
    assert opened.size == (32, 16) and opened.role == role and opened.settings == SETTINGS
    assert opened.num_features == 8
    assert opened.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_embedder_of_an_unknown_role_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the network must be one of student, teacher, got 'best'"):
        Embedder(tmp_path / "model.safetensors", role="best")


def test_embedder_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.safetensors is missing: run `dvc repro train` first"):
        Embedder(tmp_path / "model.safetensors")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same two networks in every kind of file; the exported one is the teacher."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(1)
    student, teacher = (build("resnet10_w32", pooling="avg", features=8, bn_group=2).eval() for _ in ROLES)
    save_model(folder / "model.safetensors", student, teacher, settings=SETTINGS)
    trainer = {"student": student.state_dict(), "teacher": teacher.state_dict()}
    save_checkpoint(folder / "checkpoint.pt", {"settings": SETTINGS, "trainer": trainer})
    images = np.zeros((1, 32, 16, 3), np.uint8)
    export_onnx(folder / "model.onnx", teacher, images, role="teacher", settings=SETTINGS)
    return {path.suffix: path for path in folder.iterdir()}


def test_embedders_of_all_kinds_of_files_agree(files: dict[str, Path]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 16, 3), dtype=np.uint8)
    opened = {suffix: Embedder(path, role="teacher") for suffix, path in files.items()}
    expected = opened[".safetensors"].embed(images, "crops")
    np.testing.assert_array_equal(opened[".pt"].embed(images, "crops"), expected)
    np.testing.assert_allclose(opened[".onnx"].embed(images, "crops"), expected, atol=1e-5)
    for suffix, embedder in opened.items():
        assert embedder.settings == SETTINGS and embedder.num_features == 8 and embedder.size == (32, 16)
        assert embedder.digest == hashlib.sha256(files[suffix].read_bytes()).hexdigest()


def test_embedder_is_the_student_unless_the_file_holds_another_alone(files: dict[str, Path]) -> None:
    assert {suffix: Embedder(path).role for suffix, path in files.items()} == {
        ".safetensors": "student",
        ".pt": "student",
        ".onnx": "teacher",
    }
    with pytest.raises(UserError, match=r"model\.onnx holds the teacher alone, not the student"):
        Embedder(files[".onnx"], role="student")


def test_embedder_refuses_images_of_another_size(files: dict[str, Path]) -> None:
    for path in files.values():
        with pytest.raises(UserError, match=r"was trained on images of 32 x 16 .* these are of 64 x 32: set image\."):
            Embedder(path).embed(np.zeros((2, 64, 32, 3), np.uint8), "crops")


def test_embedder_of_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a model must end in one of .safetensors, .pt, .onnx, got .*m\.bin"):
        Embedder(tmp_path / "m.bin")


def test_embedder_of_pytorch_takes_no_provider(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"a provider is for an exported model \(.onnx\), and .*checkpoint.pt is none"):
        Embedder(files[".pt"], provider="cpu")
