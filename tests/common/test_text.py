"""Names as messages and tables can show them."""

import pytest

from pipeline.common.text import csv_cell, first_line, one_line, printable

ACTED_ON = ("\x9b31m", "\x7f", "\u202e", "\x1b[2J", "\n", "\r", "\t", "\u2028", "\udc9b", "\x00")


@pytest.mark.parametrize("text", ACTED_ON)
def test_what_a_terminal_acts_on_is_shown_as_an_escape(text: str) -> None:
    for shown in (one_line(f"a{text}b"), printable(f"a{text}b"), csv_cell(f"a{text}b"), first_line(OSError(text))):
        assert shown.isprintable() and text not in shown


@pytest.mark.parametrize("text", ["a b", "F\xfcchse (1)", "\u732b.jpg", "a'b", "100%"])
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    assert one_line(text) == printable(text) == csv_cell(text) == text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_formulas_are_quoted(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


def test_first_line_of_an_error_without_words_is_its_kind() -> None:
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("\n  one\ntwo")) == "one"
