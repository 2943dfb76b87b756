"""From the names of identities and cameras to whole numbers."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.common.text import one_line, some

# 18 digits fit into 64 bits; "12.0" is how a table with gaps comes out of a spreadsheet or of pandas.
_WHOLE_NUMBER = re.compile(r"(?P<number>-?[0-9]{1,18})(?:\.0+)?")
_NUM_SHOWN = 50


class Numbering(NamedTuple):
    """The numbers of some labels.

    Attributes:
        numbers: label -> number; labels that are the same whole number ("1", "01" and "1.0") are one.
        names: number -> label where the numbers are not the labels' own, else empty.
        note: one line that says which name got which number, or None where the numbers are their own.
    """

    numbers: dict[str, int]
    names: dict[int, str]
    note: str | None


def whole_number(label: str) -> int | None:
    """The label as a number, or None if it is a name."""
    match = _WHOLE_NUMBER.fullmatch(label)
    return int(match["number"]) if match else None


def number_labels(labels: Iterable[str], *, what: str) -> Numbering:
    """Gives each of the labels a number: its own if all are whole numbers, else 1, 2, ... in sorted order.

    Args:
        labels: may repeat themselves.
        what: "cameras", to say so in the note.
    """
    names = sorted(set(labels))
    own = {name: whole_number(name) for name in names}
    numbers = {name: number for name, number in own.items() if number is not None}
    if len(numbers) == len(names):
        return Numbering(numbers, {}, None)
    plain = {name: name if number is None else str(number) for name, number in own.items()}
    order = {name: number for number, name in enumerate(sorted(set(plain.values())), start=1)}
    shown = some((f"{number} = {one_line(name)}" for name, number in order.items()), shown=_NUM_SHOWN)
    note = f"{len(order)} {what} were numbered in sorted order: {shown}"
    return Numbering(
        {name: order[plain[name]] for name in names}, {number: name for name, number in order.items()}, note
    )
