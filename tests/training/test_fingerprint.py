"""An interrupted training is found again by what was being trained, and by nothing else."""

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.model.checkpoint import save_checkpoint
from pipeline.training.fingerprint import fingerprint, held, other_training

FACTS = {
    "dataset": "toy",
    "epochs": 8,
    "sampler": {"batch": 64, "camera_aware": True},
    "optimizer": {"lr": 3.5e-4},
    "train": [60, 6],
    "data": "0123",
    "weights": None,
}


def test_folder_is_held_by_one_training(tmp_path: Path) -> None:
    again = pytest.raises(UserError, match="a: the same training is running already")
    with held(tmp_path / "a"), held(tmp_path / "b"), again, held(tmp_path / "a"):
        pass
    with held(tmp_path / "a"):
        pass


def test_other_training_says_what_differs(tmp_path: Path) -> None:
    changed = {**FACTS, "epochs": 9, "sampler": {"batch": 32, "camera_aware": True}}
    assert other_training(tmp_path / "first", FACTS) is None
    assert other_training(tmp_path / "second", changed) is None, "nothing was interrupted"
    save_checkpoint(tmp_path / "first" / "checkpoint.pt", {"epoch": 1})
    told = other_training(tmp_path / "second", changed)
    assert told is not None and str(tmp_path / "first") in told
    assert "(epochs 8 -> 9, sampler.batch 64 -> 32): starting afresh" in told
    assert f"rm -r {tmp_path / 'first'} drops it" in told
    assert other_training(tmp_path / "second", changed) is None, "once is enough"
    assert other_training(tmp_path / "first", FACTS) is None
    assert other_training(tmp_path / "second", changed) is not None, "it was gone on with, and interrupted again"


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
