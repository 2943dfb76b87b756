"""Backbones of timm, exported: what the file computes is what the network does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.inference.onnx_export import export_onnx
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.model.saved import build_of


@pytest.mark.parametrize("backbone", ["timm/test_vit", "timm/test_efficientnet"])
def test_export_of_timm_agrees_with_pytorch(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "backbone": backbone,
        "model": {"pooling": "avg", "features": 0, "bn_group": 8},
        "image": {"height": 64, "width": 32},
    }
    network = build_of(settings).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    path = tmp_path / "model.onnx"
    assert export_onnx(path, network, images, role="student", settings=settings).difference < 1e-5
    assert OnnxNetwork(path).num_features == network.num_features
