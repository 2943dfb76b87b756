"""A model's file is all that is needed to embed images as the training did."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.model import build
from pipeline.model.saved import save_model
from pipeline.retrieval.embedder import ROLES, open_embedder
from pipeline.retrieval.embedding import embed

SETTINGS = {
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
    opened = open_embedder(path, role=role)
    expected = embed(networks[role], images, device=torch.device("cpu")).numpy()
    np.testing.assert_array_equal(opened.embed(images, "crops"), expected)
    assert opened.size == (32, 16) and opened.role == role and opened.settings == SETTINGS
    assert opened.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_embedder_of_an_unknown_role_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the network must be one of student, teacher, got 'best'"):
        open_embedder(tmp_path / "model.safetensors", role="best")


def test_embedder_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.safetensors is missing: run `dvc repro train` first"):
        open_embedder(tmp_path / "model.safetensors")
