"""A network comes back from the model of a run, or from the checkpoint of one that goes on, by its own settings."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.inference.trained import load_trained
from pipeline.model import build
from pipeline.model.checkpoint import before, save_checkpoint
from pipeline.model.saved import save_model

SETTINGS: dict[str, Any] = {
    "backbone": "resnet10_w32",
    "model": {"pooling": "gem", "features": 8, "bn_group": 2},
    "image": {"height": 32, "width": 16},
}
ROLES = ("student", "teacher")


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return {role: build(SETTINGS["backbone"], **SETTINGS["model"]) for role in ROLES}


def state_of(networks: dict[str, nn.Module], **others: Any) -> dict[str, Any]:
    states = {role: network.state_dict() for role, network in networks.items()}
    return {"trainer": {**states, "optimizer": {}, "epoch": 1}, "rows": [], **others}


@pytest.fixture
def checkpoint(tmp_path: Path, networks: dict[str, nn.Module]) -> Path:
    """As a training writes it, twice."""
    for _ in range(2):
        save_checkpoint(tmp_path / "checkpoint.pt", state_of(networks, settings=SETTINGS))
    return tmp_path / "checkpoint.pt"


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    assert not found.training
    state = expected.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in found.state_dict().items())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["model", "last", "before"])
def test_network_comes_back_bit_for_bit(
    tmp_path: Path, checkpoint: Path, networks: dict[str, nn.Module], kind: str, role: str
) -> None:
    save_model(tmp_path / "model.safetensors", *networks.values(), settings=SETTINGS)
    path = {"model": tmp_path / "model.safetensors", "last": checkpoint, "before": before(checkpoint)}[kind]
    found, settings = load_trained(path, role=role)
    assert settings == SETTINGS
    assert_same(found, networks[role])


def test_unknown_role_and_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the network must be one of student, teacher, got 'best'"):
        load_trained(tmp_path / "model.safetensors", role="best")
    with pytest.raises(UserError, match=r"must end in one of .safetensors, .pt, got .*m\.onnx"):
        load_trained(tmp_path / "m.onnx")


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\.pt is missing: there is no checkpoint"):
        load_trained(tmp_path / "m.pt")


def test_damaged_checkpoint_is_refused_and_nobody_told_to_delete_it(checkpoint: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged, match in ((bytes(content), "is damaged"), (b"PK\3\4" + content, "is no checkpoint of this version")):
        checkpoint.write_bytes(damaged)
        with pytest.raises(UserError, match=match) as caught:
            load_trained(checkpoint)
        assert "delete" not in str(caught.value)


def test_checkpoint_without_settings_is_refused(tmp_path: Path, networks: dict[str, nn.Module]) -> None:
    save_checkpoint(tmp_path / "c.pt", state_of(networks))
    with pytest.raises(UserError, match="kept no settings in its checkpoints: let it end first"):
        load_trained(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"image": None}, None),
        ({"model": {**SETTINGS["model"], "features": 9}}, "does not fit its own settings: size mismatch"),
        ({"backbone": "resnet7"}, "backbone must be one of"),
    ],
)
def test_checkpoint_of_other_settings_is_refused(
    tmp_path: Path, networks: dict[str, nn.Module], change: dict[str, Any], match: str | None
) -> None:
    settings = {key: value for key, value in (SETTINGS | change).items() if value is not None}
    save_checkpoint(tmp_path / "c.pt", state_of(networks, settings=settings))
    with pytest.raises(UserError, match=match or "the settings in it lack image"):
        load_trained(tmp_path / "c.pt")
