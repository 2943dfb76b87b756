"""Individuals keep their numbers when a folder grows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.discovery.numbering import STATE, Known, changes, numbered, read_known


def of(text: str) -> tuple[np.ndarray, list[str]]:
    """`a0 b0 c1 d-` is a and b in cluster 0, c in 1, d in none."""
    words = text.split()
    return np.array([-1 if word[1:] == "-" else int(word[1:]) for word in words]), [word[0] for word in words]


def found(text: str, known: Known = Known()) -> Known:  # noqa: B008 - it is frozen
    return numbered(*of(text), known)


def test_first_time_numbers_are_those_of_the_clusters() -> None:
    now = found("a0 b0 c1 d-")
    assert now == Known({"a": 0, "b": 0, "c": 1, "d": -1}, 2) and changes(Known(), now) == []


@pytest.mark.parametrize(
    ("text", "numbers", "told"),
    [
        ("a0 b0 c0 d1 e1 f-", "000111-", ["nothing has changed"]),
        ("d0 e0 g0 h0 a1 b1 c1 f-", "", ["individual 1: 2 images more"]),
        ("a0 b0 c0 d1 e1 g2 h2 f-", "", ["new: individual 2 (2 images)"]),
        ("a0 b0 c0 d0 e0 f-", "", ["individual 0: 2 images more", "individual 1 is gone: its images are of 0 now"]),
        ("a0 b0 c1 d2 e2 f-", "", ["new: individual 2 (1 images)", "individual 0: 1 images fewer"]),
        ("a0 b0 c0 f-", "", ["individual 1 is gone"]),
        ("a0 b0 c0 d1 e1 f1", "", ["individual 1: 1 images more"]),
    ],
)
def test_known_individuals_keep_their_numbers(text: str, numbers: str, told: list[str]) -> None:
    before = found("a0 b0 c0 d1 e1 f-")
    now = found(text, before)
    assert changes(before, now) == told
    for path in "abc":
        if now.numbers.get(path, -1) < 2:
            assert now.numbers.get(path) == 0


def test_a_number_is_never_given_again() -> None:
    first = found("a0 b1")
    second = found("a0", first)
    assert found("a0 c1", second).numbers == {"a": 0, "c": 2}


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(-1, 3)), unique_by=lambda pair: pair[0], min_size=1))
def test_numbers_part_images_as_the_clusters_do(pairs: list[tuple[str, int]]) -> None:
    paths = [path for path, _ in pairs]
    _, labels = np.unique([label for _, label in pairs if label >= 0], return_inverse=True)
    waiting = iter(labels.tolist())
    today = np.array([next(waiting) if label >= 0 else -1 for _, label in pairs])
    now = numbered(today, paths, found("a0 b0 c1 d1 e2 f2 g-"))
    given_numbers = [now.numbers[path] for path in paths]
    for i, first in enumerate(today):
        for j, second in enumerate(today):
            assert (given_numbers[i] == given_numbers[j]) == (first == second)
    assert max(given_numbers) < now.following


def test_what_is_known_is_kept(tmp_path: Path) -> None:
    assert read_known(tmp_path) == Known()
    known = found("a0 b0 c1 d-")
    known.write(tmp_path)
    assert read_known(tmp_path) == known


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"numbers": {"a": "x"}, "following": 1}', '{"numbers": {"a": 5}, "following": 1}', '{"numbers": 1}'],
)
def test_damaged_memory_is_one_line(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / STATE, text)
    with pytest.raises(UserError, match=r"individuals\.json is damaged: remove it, and individuals are numbered anew"):
        read_known(tmp_path)
