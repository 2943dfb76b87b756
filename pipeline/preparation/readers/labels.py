"""From the names of identities and cameras to whole numbers."""

import re
from collections.abc import Iterable

from pipeline.common.text import one_line, some

# 18 digits fit into 64 bits; "12.0" is how a table with gaps comes out of a spreadsheet or of pandas.
_WHOLE_NUMBER = re.compile(r"(?P<number>-?[0-9]{1,18})(?:\.0+)?")
_NUM_SHOWN = 50


def whole_number(label: str) -> int | None:
    """The label as a number, or None if it is a name."""
    match = _WHOLE_NUMBER.fullmatch(label)
    return int(match["number"]) if match else None


def number_labels(labels: Iterable[str], *, what: str) -> tuple[dict[str, int], str | None]:
    """Gives each of the labels a number: its own if all are whole numbers, else 1, 2, ... in sorted order.

    Args:
        labels: may repeat themselves.
        what: "cameras", to say so in the note.

    Returns:
        numbers: label -> number; labels that are the same whole number ("1", "01" and "1.0") are one.
        note: one line that says which name got which number, or None where the numbers are their own.
    """
    names = sorted(set(labels))
    own = {name: whole_number(name) for name in names}
    numbers = {name: number for name, number in own.items() if number is not None}
    if len(numbers) == len(names):
        return numbers, None
    plain = {name: name if number is None else str(number) for name, number in own.items()}
    order = {name: number for number, name in enumerate(sorted(set(plain.values())), start=1)}
    shown = some((f"{number} = {one_line(name)}" for name, number in order.items()), shown=_NUM_SHOWN)
    note = f"{len(order)} {what} were numbered in sorted order: {shown}"
    return {name: order[plain[name]] for name in names}, note
