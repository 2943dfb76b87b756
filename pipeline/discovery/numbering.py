"""The numbers of individuals, which stay when a folder grows and is clustered again.

A cluster of today takes the number of the individual of last time with which it shares the most images; each number
goes to one cluster, the largest share first. What is left gets numbers that nobody has had. So an individual keeps its
number when images are added, when some of its images go elsewhere, and when it is joined with a smaller one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json

STATE = "individuals.json"
OUTLIER = -1


@dataclass(frozen=True)
class Known:
    """What the last time found.

    Attributes:
        numbers: path -> number of the individual, from 0; -1 for an image of nobody in particular.
        following: the first number that nobody has had.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    following: int = 0

    def write(self, folder: Path) -> None:
        """Keeps it in `folder` for the next time."""
        write_json(folder / STATE, {"following": self.following, "numbers": dict(self.numbers)})


def read_known(folder: Path) -> Known:
    """What `Known.write` left in `folder`; nothing if it left none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return Known()
    found = read_json(path)
    try:
        known = Known({str(name): int(number) for name, number in found["numbers"].items()}, int(found["following"]))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged: remove it, and individuals are numbered anew") from error
    if max(known.numbers.values(), default=-1) >= known.following:
        raise UserError(f"{path} is damaged: remove it, and individuals are numbered anew")
    return known


def numbered(labels: NDArray[np.int64], paths: Sequence[str], known: Known) -> Known:
    """The individuals of today, those of last time under their numbers.

    Args:
        labels: (N,) clusters of today from 0, by their size the largest first; -1 for outliers.
        paths: of the N images.
        known: what the last time found; images that are gone count no more.

    Returns:
        What is known now.
    """
    shared: Counter[tuple[int, int]] = Counter()
    for label, path in zip(labels.tolist(), paths, strict=True):
        before = known.numbers.get(path, OUTLIER)
        if label >= 0 and before >= 0:
            shared[before, label] += 1
    number_of: dict[int, int] = {}
    taken: set[int] = set()
    for (before, label), _ in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
        if label not in number_of and before not in taken:
            number_of[label] = before
            taken.add(before)
    following = known.following
    for label in range(int(labels.max(initial=-1)) + 1):
        if label not in number_of:
            number_of[label] = following
            following += 1
    numbers = {path: number_of.get(label, OUTLIER) for label, path in zip(labels.tolist(), paths, strict=True)}
    return Known(numbers, following)


def changes(before: Known, now: Known) -> list[str]:
    """What is different from last time, one line each: individuals that are new, have grown or shrunk, or are gone."""
    if not before.numbers:
        return []
    sizes = [Counter(number for number in known.numbers.values() if number >= 0) for known in (before, now)]
    lines = []
    new = sorted(number for number in sizes[1] if number >= before.following)
    if new:
        lines.append(f"new: {_listed(new, sizes[1])}")
    moved: Counter[tuple[int, int]] = Counter()
    for path, number in now.numbers.items():
        last = before.numbers.get(path)
        if last is None or last != number:
            moved[OUTLIER if last is None else last, number] += 1
    for number in sorted(sizes[0].keys() & sizes[1].keys()):
        gained = sum(count for (_, there), count in moved.items() if there == number)
        lost = sizes[0][number] + gained - sizes[1][number]
        told = [f"{gained} images more"] if gained else []
        told += [f"{lost} images fewer"] if lost else []
        if told:
            lines.append(f"individual {number}: {', '.join(told)}")
    for number in sorted(sizes[0].keys() - sizes[1].keys()):
        to = Counter({there: count for (last, there), count in moved.items() if last == number and there >= 0})
        where = f": its images are of {', '.join(map(str, sorted(to)))} now" if to else ""
        lines.append(f"individual {number} is gone{where}")
    return lines or ["nothing has changed"]


def _listed(numbers: Sequence[int], sizes: Mapping[int, int]) -> str:
    return ", ".join(f"individual {number} ({sizes[number]} images)" for number in numbers)
