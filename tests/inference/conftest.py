"""One small network, exported once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.inference.onnx_export import export_onnx
from pipeline.model import build
from pipeline.model.network import Network

HEIGHT, WIDTH, FEATURES = 32, 16, 8


def settings_of(backbone: str = "resnet10_w32", **model: Any) -> dict[str, Any]:
    model = {"pooling": "avg", "features": FEATURES, "bn_group": 2, **model}
    image = {"height": HEIGHT, "width": WIDTH}
    return {"dataset": "toy", "backbone": backbone, "image": image, "model": model}


def network_of(settings: dict[str, Any]) -> Network:
    """In eval mode, with statistics and slopes that differ from channel to channel, as after a training."""
    torch.manual_seed(1)
    network = build(settings["backbone"], **settings["model"]).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                tensor.uniform_(-0.2, 0.2)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    return network


def images_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (number, HEIGHT, WIDTH, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Exported:
    """A file, and what it was made of."""

    path: Path
    network: Network
    settings: dict[str, Any]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Read it; do not change the file."""
    settings = settings_of()
    network, path = network_of(settings), tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(path, network, images_of(9), role="teacher", settings=settings)
    return Exported(path, network, settings)


@pytest.fixture
def changed(exported: Exported, tmp_path: Path) -> Callable[[dict[str, str | None]], Path]:
    """A copy of the file with other texts in its metadata; None takes one away."""
    import onnx

    def change(texts: dict[str, str | None]) -> Path:
        model = onnx.load(exported.path)
        values = {each.key: each.value for each in model.metadata_props} | texts
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {key: value for key, value in values.items() if value is not None})
        onnx.save(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    return change
