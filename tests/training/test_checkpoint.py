"""Checkpoints: whole or not there, refused by name where damaged, found again by what was trained."""

import copy
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.errors import UserError
from pipeline.training.checkpoint import fingerprint, load_checkpoint, save_checkpoint

FACTS = {
    "dataset": "toy", "epochs": 8, "sampler": {"batch": 64, "camera_aware": True}, "optimiser": {"lr": 3.5e-4},
    "train": [60, 6], "data": "0123", "weights": None,
}  # fmt: skip


def trained() -> dict[str, Any]:
    """The state of a small network and its optimiser after a step."""
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.ones(1, 4)).sum().backward()
    optimiser.step()
    return {"student": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": 3, "rows": [{"loss": 0.5}]}


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
    for number, state in expected["optimiser"]["state"].items():
        for key, tensor in state.items():
            assert torch.equal(found["optimiser"]["state"][number][key], tensor)
    assert found["optimiser"]["param_groups"] == expected["optimiser"]["param_groups"]


def test_checkpoint_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None
    assert load_checkpoint(tmp_path) is None


def test_checkpoint_replaces_the_one_before(path: Path) -> None:
    save_checkpoint(path, {"epoch": 4})
    state = load_checkpoint(path)
    assert state is not None and state["epoch"] == 4 and "rows" not in state
    assert list(path.parent.iterdir()) == [path]


def test_checkpoint_that_cannot_be_written_leaves_the_one_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fill_the_disk(state: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"epoch": 4})
    assert path.read_bytes() == before
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
    assert done == [("fsync", size), ("replace", size)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_checkpoint_truncated_is_refused_by_name(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged and cannot be resumed from: delete it") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_checkpoint_with_a_wrong_byte_is_read_or_refused_by_name(tmp_path: Path, place: float, change: int) -> None:
    """A byte of a number may go unnoticed; one of the structure must not end in a traceback."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"student": {"a": torch.ones(2)}, "epoch": 3, "rows": [{"loss": 0.5}]})
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= change
    path.write_bytes(content)
    try:
        assert isinstance(load_checkpoint(path), dict)
    except UserError as error:
        assert str(error).startswith(f"{path} is ")


def test_checkpoint_with_a_wrong_reference_in_its_pickle_is_refused(path: Path) -> None:
    """Its reader raises KeyError here, which is none of the errors that a damaged pickle should raise."""
    content = path.read_bytes()
    start = content.index(b"format")
    wrong, count = re.subn(rb"h[\x00-\x09]", b"h\xff", content[start:], count=1)  # BINGET of what was never put
    assert count == 1
    path.write_bytes(content[:start] + wrong)
    with pytest.raises(KeyError, match="255"):
        torch.load(path, weights_only=True)
    with pytest.raises(UserError, match="is damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [{"format": 0}, {"epoch": 3}, [1, 2], torch.ones(2), "text"])
def test_checkpoint_of_another_version_or_of_others_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match=r"checkpoint\.pt is no checkpoint of this version: delete it"):
        load_checkpoint(tmp_path / "checkpoint.pt")


class Malicious:
    """Unpickling this creates a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.trace,)


def test_checkpoint_never_executes_code(tmp_path: Path) -> None:
    torch.save({"format": 1, "extra": Malicious(tmp_path / "trace")}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="is damaged"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "trace").exists()


def test_fingerprint_by_hand() -> None:
    text = '{"a": 1, "b": {"c": [1.5, null, true]}}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert fingerprint({"b": {"c": [1.5, None, True]}, "a": 1}) == expected


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from leaves(child, (*at, key))
    if not isinstance(value, dict | list):
        yield at


def changed(at: tuple[Any, ...], value: object) -> dict[str, Any]:
    facts = copy.deepcopy(FACTS)
    part: Any = facts
    for key in at[:-1]:
        part = part[key]
    part[at[-1]] = value
    return facts


@pytest.mark.parametrize("at", list(leaves(FACTS)), ids=lambda at: ".".join(map(str, at)))
def test_fingerprint_changes_with_each_fact(at: tuple[Any, ...]) -> None:
    assert fingerprint(changed(at, "another")) != fingerprint(FACTS)


def test_fingerprint_changes_with_a_fact_more_or_less() -> None:
    one_less = {key: value for key, value in FACTS.items() if key != "weights"}
    assert len({fingerprint(FACTS), fingerprint(one_less), fingerprint({**FACTS, "more": None})}) == 3


def test_fingerprint_tells_values_from_their_names() -> None:
    values = [1, "1", True, "true", None, "null", [1], {"1": 1}, 1.5, ""]
    assert len({fingerprint({"a": value}) for value in values}) == len(values)


@given(facts=st.dictionaries(st.text(), st.integers() | st.text() | st.none()), seed=st.randoms())
def test_fingerprint_does_not_depend_on_the_order(facts: dict[str, Any], seed: Any) -> None:
    items = list(facts.items())
    seed.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(facts)
    assert len(fingerprint(facts)) == 16 and int(fingerprint(facts), 16) >= 0


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), ValueError, "not JSON compliant"),
        (np.float32(1), TypeError, "not JSON serializable"),
        (Path("a"), TypeError, "not JSON serializable"),
    ],
)
def test_fingerprint_takes_plain_values_only(value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fingerprint({"a": value})
