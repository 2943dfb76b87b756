"""Weights learned from drawn people: those of none who is ever in a data set, and better than none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.evaluation import evaluate
from pipeline.model import build, drawn_weights
from pipeline.model.drawn_weights import learn_from_drawn_people
from pipeline.model.embedding import embed
from pipeline.preparation.synthetic import draw_images

SIZE = (32, 16)
BACKBONE = "resnet10_w32"


@pytest.fixture(autouse=True)
def few_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_weights, "PEOPLE", 40)
    monkeypatch.setattr(drawn_weights, "BATCH", 16)


def mean_ap(weights: Path | None) -> float:
    """Among people whom no data set and no weights know."""
    images, pids, cameras = draw_images(seed=7, identities=30, cameras=3, images_per_identity=6, height=32, width=16)
    torch.manual_seed(1)
    network = build(BACKBONE, weights=weights)
    features = embed(network, images, device=torch.device("cpu")).numpy()
    query = np.arange(len(images)) % 6 == 0
    known = (features, pids, cameras)
    return evaluate(*(x[query] for x in known), *(x[~query] for x in known)).mean_ap


def test_what_was_learned_is_better_than_none_and_the_same_in_each_run(tmp_path: Path) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    torch.manual_seed(5)
    state = torch.get_rng_state()
    learn_from_drawn_people(BACKBONE, one, size=SIZE, steps=60, shown=False)
    assert torch.equal(torch.get_rng_state(), state)  # the experiment's own randomness goes on as it was
    torch.manual_seed(6)
    learn_from_drawn_people(BACKBONE, other, size=SIZE, steps=60, shown=False)
    assert one.read_bytes() == other.read_bytes()
    assert mean_ap(one) > mean_ap(None) + 0.1


def test_weights_are_learned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_weights.learn_from_drawn_people, "__kwdefaults__", {"steps": 2, "shown": False})
    file = drawn_weights.drawn_weights(BACKBONE, tmp_path, size=SIZE)
    assert file.name.startswith("resnet10_w32-40-drawn-people-32x16-") and file.suffix == ".safetensors"
    monkeypatch.setattr(drawn_weights, "learn_from_drawn_people", None)
    assert drawn_weights.drawn_weights(BACKBONE, tmp_path, size=SIZE) == file
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
