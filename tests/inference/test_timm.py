"""Backbones of timm, exported: what the file computes is what the network does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.inference.embedder import Embedder
from pipeline.inference.onnx_export import export_onnx
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.model.embedding import embed
from pipeline.model.saved import build_of, save_model
from tests.tiny_clip import CLIP

HEAD = {"pooling": "clip", "freeze": ["patch_embed"], "drop_path": 0.2, "normalize": "luperson"}
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("timm/test_vit", {"pooling": "avg"}),
    ("timm/test_efficientnet", {"pooling": "avg"}),
    (CLIP, HEAD),
]


@pytest.mark.parametrize(("backbone", "model"), NETWORKS)
def test_file_and_export_of_timm_agree_with_pytorch(backbone: str, model: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "backbone": backbone,
        "model": {"features": 0, "bn_group": 8, **model},
        "image": {"height": 64, "width": 32},
    }
    network = build_of(settings).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    path = tmp_path / "model.onnx"
    assert export_onnx(path, network, images, role="student", settings=settings).difference < 1e-5
    assert OnnxNetwork(path).num_features == network.num_features
    save_model(tmp_path / "model.safetensors", network, None, settings=settings)
    expected = embed(network, images, device=torch.device("cpu")).numpy()
    np.testing.assert_array_equal(Embedder(tmp_path / "model.safetensors").embed(images, "crops"), expected)
