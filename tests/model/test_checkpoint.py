"""Checkpoints: whole or not there, refused by name where damaged."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.common.errors import UserError
from pipeline.model.checkpoint import (
    FORMAT,
    before,
    load_checkpoint,
    load_latest,
    save_checkpoint,
)


def trained() -> dict[str, Any]:
    """The state of a small network and its optimizer after a step."""
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return {"student": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "rows": [{"loss": 0.5}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "folder" / "checkpoint.pt", trained())
    return tmp_path / "folder" / "checkpoint.pt"


def test_checkpoint_comes_back_bit_for_bit(path: Path) -> None:
    expected, found = trained(), load_checkpoint(path)
    assert found is not None
    assert found["epoch"] == 3 and found["rows"] == [{"loss": 0.5}]
    for key, tensor in expected["student"].items():
        assert torch.equal(found["student"][key], tensor)
    for number, state in expected["optimizer"]["state"].items():
        for key, tensor in state.items():
            assert torch.equal(found["optimizer"]["state"][number][key], tensor)
    assert found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]


def test_checkpoint_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None
    assert load_checkpoint(tmp_path) is None


def test_checkpoint_replaces_the_one_before(path: Path) -> None:
    save_checkpoint(path, {"epoch": 4})
    state = load_checkpoint(path)
    assert state is not None and state["epoch"] == 4 and "rows" not in state
    old = load_checkpoint(before(path))
    assert old is not None and old["epoch"] == 3
    assert sorted(path.parent.iterdir()) == [path, before(path)]
    save_checkpoint(path, {"epoch": 5})
    old = load_checkpoint(before(path))
    assert old is not None and old["epoch"] == 4


def test_checkpoint_that_cannot_be_written_leaves_the_one_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = path.read_bytes()

    def fill_the_disk(state: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"epoch": 4})
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_checkpoint_is_on_the_disk_before_it_takes_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, int]] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("fsync", os.fstat(descriptor).st_size))

    def replaced(self: Path, target: Path) -> Path:
        done.append(("replace", self.stat().st_size))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    save_checkpoint(path, trained())
    size = path.stat().st_size
    assert done == [("fsync", size), ("replace", size), ("replace", size)]  # the one before steps aside, the new in


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_checkpoint_truncated_is_refused_by_name(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"checkpoint\.pt is (damaged|no checkpoint).*: delete it") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_checkpoint_with_a_wrong_byte_is_refused_by_name(tmp_path: Path, place: float, change: int) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"student": {"a": torch.ones(2)}, "epoch": 3, "rows": [{"loss": 0.5}]})
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= change
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path} is ")


def sealed(content: bytes) -> bytes:
    """`content` as the payload of a checkpoint, whoever made it."""
    return b"reid checkpoint " + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def saved_by_torch(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def test_damaged_checkpoint_gives_way_to_the_one_before(path: Path) -> None:
    save_checkpoint(path, {"epoch": 4})
    told: list[str] = []
    state = load_latest(path, told.append)
    assert state is not None and state["epoch"] == 4 and told == []
    path.write_bytes(path.read_bytes()[:-1])
    state = load_latest(path, told.append)
    assert state is not None and state["epoch"] == 3
    assert told == [f"{path} is damaged and cannot be resumed from; the one before it is used"]


def test_checkpoint_killed_between_its_two_renames_gives_way_to_the_one_before(path: Path) -> None:
    path.replace(before(path))
    told: list[str] = []
    state = load_latest(path, told.append)
    assert state is not None and state["epoch"] == 3 and told == []


def test_checkpoints_that_are_all_damaged_are_refused(path: Path) -> None:
    save_checkpoint(path, {"epoch": 4})
    for each in (path, before(path)):
        each.write_bytes(each.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged"):
        load_latest(path, print)
    assert load_latest(path.with_name("other.pt"), print) is None


@pytest.mark.parametrize("content", [{"format": 0}, {"epoch": 3}, [1, 2], torch.ones(2), "text"])
def test_checkpoint_of_another_version_or_of_others_is_refused(tmp_path: Path, content: Any) -> None:
    for written in (saved_by_torch(content), sealed(saved_by_torch(content)), sealed(b"text"), b"text"):
        (tmp_path / "checkpoint.pt").write_bytes(written)
        with pytest.raises(UserError, match=r"checkpoint\.pt is no checkpoint of this version: delete it"):
            load_checkpoint(tmp_path / "checkpoint.pt")


class Malicious:
    """Unpickling this creates a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.trace,)


def test_checkpoint_never_executes_code(tmp_path: Path) -> None:
    evil = saved_by_torch({"format": FORMAT, "extra": Malicious(tmp_path / "trace")})
    (tmp_path / "checkpoint.pt").write_bytes(sealed(evil))
    with pytest.raises(UserError, match="is no checkpoint of this version"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "trace").exists()
