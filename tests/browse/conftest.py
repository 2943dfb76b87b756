"""A small run: five people on twelve images each, whose embeddings are drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.browse.actions import Actions
from pipeline.browse.run import Run
from pipeline.browse.session import Session
from pipeline.datasets.names import Names
from pipeline.inference.embedder import Embedder
from pipeline.model.saved import save_model
from pipeline.model.thresholds import KEY, Thresholds
from tests.inference.conftest import FEATURES, HEIGHT, WIDTH, network_of, settings_of

COLOURS = ("red", "green", "blue", "cyan", "magenta")
EACH = 12
HOSTILE = "<img src=x onerror=alert(1)>"


def crop(colour: str, number: int) -> np.ndarray:
    image = Image.new("RGB", (WIDTH, HEIGHT), colour)
    image.paste("white", (number, 0, number + 3, 6))
    return np.asarray(image)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    thresholds = Thresholds(same=0.999, unsure=0.5, same_rate=1e-3, unsure_rate=1e-2, same_recall=0.5)
    settings = settings_of() | {KEY: {"student": thresholds.as_settings()}, "method": "dccc"}
    torch.manual_seed(1)
    save_model(folder / "m.safetensors", network_of(settings), None, settings=settings)
    embedder = Embedder(folder / "m.safetensors")
    assert embedder.num_features == FEATURES
    images = np.stack([crop(colour, number) for colour in COLOURS for number in range(EACH)])
    paths = [f"{colour}/{number:02}.png" for colour in COLOURS for number in range(EACH)]
    paths[0] = f"red/{HOSTILE}.png"
    camids = np.tile(np.arange(EACH) % 3, len(COLOURS)).astype(np.int64)
    camids[:EACH] = 1  # one camera sees the first alone
    labels = np.repeat(np.arange(len(COLOURS)), EACH).astype(np.int64)
    labels[-2:] = -1
    return Run(
        title="toy",
        paths=tuple(paths),
        picture=images.__getitem__,
        camids=camids,
        labels=labels,
        embeddings=embedder.embed(images, "", shown=False),
        embedder=embedder,
        names=Names(cameras={1: "gate"}),
    )


@pytest.fixture
def session(run: Run, tmp_path: Path) -> Session:
    return Session(run, Actions(tmp_path / "corrections.csv", tmp_path / "lock"))
