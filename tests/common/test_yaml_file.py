"""Changing values of a YAML file leaves everything else in it as it is."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.common.errors import UserError
from pipeline.common.yaml_file import parse_mapping, with_values

FILE = Path("params.yaml")
TEXT = """\
# the head
dataset: recipe               # a comment
                              # that goes on

image: {height: recipe, width: 3}   # another
own:
  folder: "mi ne"             # where
  list: [1,
    2]   # two lines
epochs: 3
"""


def test_values_are_changed_in_their_place_and_comments_stay_in_their_column() -> None:
    changes = {"dataset": "folder", "image.width": 1234, "own.folder": "Füchse (1)", "own.list": [], "epochs": 0.001}
    assert with_values(TEXT, changes, FILE) == (
        "# the head\n"
        "dataset: folder               # a comment\n"
        "                              # that goes on\n"
        "\n"
        "image: {height: recipe, width: 1234}   # another\n"
        "own:\n"
        "  folder: Füchse (1)          # where\n"
        "  list: []           # two lines\n"
        "epochs: 0.001\n"
    )


def test_values_unchanged_leave_the_file_unchanged() -> None:
    text = (Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")
    assert with_values(text, {"epochs": "recipe", "clustering.k2": 6, "own.folder": "mine"}, FILE) == text


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1) | st.integers() | st.booleans()
)
def test_any_value_is_read_back(value: Any) -> None:
    changed = with_values(TEXT, {"own.folder": value}, FILE)
    assert YAML(typ="safe", pure=True).load(changed)["own"] == {"folder": value, "list": [1, 2]}


@pytest.mark.parametrize("place", ["nothing", "image.depth", "dataset.part"])
def test_place_that_is_not_there_is_one_line(place: str) -> None:
    with pytest.raises(UserError, match=f"params.yaml has no setting {place}"):
        with_values(TEXT, {place: 1}, FILE)
    assert parse_mapping(TEXT, FILE)["epochs"] == 3
