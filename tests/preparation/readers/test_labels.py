"""Names -> whole numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.preparation.readers.labels import number_labels, whole_number


@pytest.mark.parametrize(
    ("label", "number"),
    [("7", 7), ("0007", 7), ("7.0", 7), ("7.000", 7), ("-1", -1), ("-1.0", -1), ("0", 0), ("9" * 18, 10**18 - 1)],
)
def test_whole_number_is_read(label: str, number: int) -> None:
    assert whole_number(label) == number


@pytest.mark.parametrize("label", ["", "a", "7a", "7.5", "1e3", "+1", " 7", "٣", "9" * 19, "nan", "7."])
def test_whole_number_is_not_found_in_names(label: str) -> None:
    assert whole_number(label) is None


def test_number_labels_keeps_whole_numbers() -> None:
    assert number_labels(["12", "0012", "3.0"], what="cameras") == ({"12": 12, "0012": 12, "3.0": 3}, {}, None)


def test_number_labels_of_nothing() -> None:
    assert number_labels([], what="cameras") == ({}, {}, None)


def test_number_labels_numbers_all_where_one_is_a_name() -> None:
    numbers, names, note = number_labels(["b", "10", "9", "b", "010"], what="cameras")
    assert numbers == {"010": 1, "10": 1, "9": 2, "b": 3} and names == {1: "10", 2: "9", 3: "b"}
    assert note == "3 cameras were numbered in sorted order: 1 = 10, 2 = 9, 3 = b"


def test_number_labels_note_is_one_line_of_the_first_names() -> None:
    _, _, note = number_labels([f"{i:03d}\n" for i in range(60)], what="identities")
    assert note is not None and note.startswith("60 identities were numbered") and "\n" not in note
    assert note.endswith(r"50 = '049\n', ...")


@given(st.lists(st.text(max_size=3)))
def test_number_labels_follow_order_and_distinguish_names(labels: list[str]) -> None:
    numbers, _, note = number_labels(labels, what="cameras")
    assert set(numbers) == set(labels)
    if note is not None:
        assert [numbers[label] for label in sorted(set(labels))] == list(range(1, len(set(labels)) + 1))
