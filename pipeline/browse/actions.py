"""What a person decided, as rows of the data set's corrections.csv: written whole, and taken back one by one.

The rows of one action carry its name in a fourth column, one of `NAMES` and a number of its own. So another tab, or a
person with an editor, may add rows at any time; nothing that is in the file is lost.
"""

import csv
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.locks import locked
from pipeline.datasets.links import COLUMNS, Link, links_of
from pipeline.preparation.links import contradictions_text, correction_rows

ACTION = "action"
Name = Literal["merge", "split", "join", "outlier"]
NAMES: tuple[str, ...] = get_args(Name)


class Action(NamedTuple):
    """One decision.

    Attributes:
        name: one of `NAMES`, or "" for rows that were written by hand.
        links: that it stands for.
    """

    name: str
    links: tuple[Link, ...]


class Actions:
    """The decisions in a file of corrections.

    Args:
        file: of the data set; there may be none yet.
        lock: file that whoever changes it holds meanwhile.
    """

    def __init__(self, file: Path, lock: Path) -> None:
        self.file, self._lock = file, lock

    def all(self) -> list[Action]:
        """The decisions in their order; rows written by hand are one each.

        Raises:
            UserError: the file is not understood; the message names the line.
        """
        found: list[tuple[str, list[Link]]] = []
        for link, label in self._rows():
            if label and found and found[-1][0] == label:
                found[-1][1].append(link)
            else:
                found.append((label, [link]))
        return [Action(label.split(" ")[0], tuple(links)) for label, links in found]

    def add(self, name: Name, links: Sequence[Link]) -> None:
        """Adds a decision at the end.

        Raises:
            UserError: it contradicts an earlier one, and is not added; or the file is not understood.
        """
        with locked(self._lock):
            rows, label = self._rows(), f"{name} {secrets.token_hex(4)}"
            before = [link for link, _ in rows]
            known = set(_contradictions(before))
            if new := [link for link in _contradictions([*before, *links]) if link not in known]:
                raise UserError(
                    f"that contradicts an earlier decision: {contradictions_text(new)}; undo that one first"
                )
            self._write([*rows, *((link, label) for link in links)])

    def undo(self) -> bool:
        """Takes back the last decision that was made here; False if there is none."""
        with locked(self._lock):
            rows = self._rows()
            last = next((label for _, label in reversed(rows) if label), None)
            if last is None:
                return False
            self._write([row for row in rows if row[1] != last])
            return True

    def _rows(self) -> list[tuple[Link, str]]:
        return [(link, more.get(ACTION, "")) for link, more in correction_rows(self.file)]

    def _write(self, rows: Sequence[tuple[Link, str]]) -> None:
        with replacing(self.file) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*COLUMNS, ACTION])
            writer.writerows([*link, label] for link, label in rows)


def _contradictions(links: Sequence[Link]) -> list[Link]:
    paths = list(dict.fromkeys(path for link in links for path in link.paths))
    return links_of(paths, links)[1]


def merged(one: str, other: str) -> list[Link]:
    """The links of "these two clusters are one", by an image of each, or of "this image is of that cluster"."""
    return [Link("must_link", one, other)]


def outliers(paths: Sequence[str]) -> list[Link]:
    """The links of "these images are of nobody in particular".

    Raises:
        UserError: there is none.
    """
    if not paths:
        raise UserError("mark an image or more")
    return [Link("outlier", path, "") for path in paths]


def parted(marked: Sequence[str], rest: Sequence[str]) -> list[Link]:
    """The links of "these images are one other individual": the marked ones, and the rest of their cluster.

    Raises:
        UserError: there is nothing on one of the sides.
    """
    if not marked or not rest:
        raise UserError("mark some of the cluster's images, and not all of them")
    joined = [Link("must_link", marked[0], path) for path in marked[1:]]
    return [*joined, *(Link("cannot_link", marked[0], path) for path in rest)]
