"""Damaged files: what a disk, a broken download or an attacker makes of a good one."""

import copy
import csv
import io
import json
import os
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

# Mutations per kind of file. CI takes few; REID_FUZZ=10000 is the long run (docs/reliability.md), in which
# REID_FUZZ_SECONDS bounds the time of each kind.
NUM_MUTATIONS = int(os.environ.get("REID_FUZZ", "25"))
_SECONDS = float(os.environ.get("REID_FUZZ_SECONDS", "inf"))
_LEAST_ROUNDS = 5
_EXTREMES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 8, 32, 4097, 2**31, 10**12, 10**30, 0.5, 1e308, float("nan"), float("inf")),
    *("", "student", "teacher", "resnet50", "timm/", "timm/none", "avg", "gem", "\x9b31m", "\u202e", "a\nb", "=1+1"),
    *("/", "..", "x" * 5000, "\udc80", [], {}, [1], {"a": 1}, [[]], {"": None}),
)


def rounds(kind: str, *, files: int = 1) -> Iterator[int]:
    """Numbers from 0 up, one for each round of a test, until there were enough mutations or no time is left.

    Args:
        kind: of file, for the line that says how many mutations there were and how long the slowest round took.
        files: that are mutated in a round.
    """
    start, slowest, number = time.monotonic(), 0.0, 0
    while number < max(_LEAST_ROUNDS, NUM_MUTATIONS // files):
        begun = time.monotonic()
        if begun - start > _SECONDS:
            break
        yield number
        slowest, number = max(slowest, time.monotonic() - begun), number + 1
    print(f"{kind}: {number * files:,} mutations in {time.monotonic() - start:.0f} s, slowest {slowest:.2f} s")


def mutated(content: bytes, rng: np.random.Generator, *, head: int = 4096) -> bytes:
    """`content` with one to four damages, most within its first `head` bytes, where files describe themselves."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        _damage(data, rng, min(head, len(data)) if rng.random() < 0.8 else len(data))
    return bytes(data)


def _damage(data: bytearray, rng: np.random.Generator, reach: int) -> None:
    if not data:
        data += rng.bytes(8)
        return
    place = int(rng.integers(max(1, reach)))
    length = int(rng.choice([1, 2, 4, 8, 32, 256]))
    match int(rng.integers(9)):
        case 0:
            data[place] ^= 1 << int(rng.integers(8))
        case 1:
            data[place : place + length] = rng.bytes(length)
        case 2:
            del data[place : place + length]
        case 3:
            data[place:place] = rng.bytes(length)
        case 4:
            del data[place:]
        case 5:
            other = int(rng.integers(len(data)))
            data[place : place + length] = data[other : other + length]
        case 6:
            data[place : place + 8] = struct.pack("<Q", int(rng.choice(np.array(_EXTREMES, np.uint64))))
        case 7:
            data[place:place] = data[place : place + length] * int(rng.integers(1, 8))
        case 8:  # a number in a text
            digits = [i for i in range(place, min(place + 256, len(data))) if 48 <= data[i] <= 57]
            for i in digits[: int(rng.integers(1, 4))]:
                data[i] = int(rng.integers(48, 58))


def mutated_json(value: Any, rng: np.random.Generator) -> str:
    """JSON of a nested value that is odd in one or two places, or as a text."""
    changed = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 3))):
        changed = _odd(changed, rng)
    text = json.dumps(changed)
    match int(rng.integers(12)):
        case 0:
            return "[" * 100_000 + "]" * 100_000
        case 1:
            return text.replace("1", "1" * 6000, 1)
        case 2:
            return mutated(text.encode(), rng).decode(errors="replace")
    return text


def _odd(value: Any, rng: np.random.Generator) -> Any:
    """`value` with one of its parts replaced, taken away or put in twice."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return copy.deepcopy(_ODD[int(rng.integers(len(_ODD)))])
    if isinstance(value, list):
        place = int(rng.integers(len(value)))
        return [*value[:place], _odd(value[place], rng), *value[place + 1 :]]
    key = str(rng.choice(list(value)))
    if rng.random() < 0.15:
        return {name: part for name, part in value.items() if name != key}
    return {**value, key: _odd(value[key], rng)}


def mutated_table(rows: list[list[str]], rng: np.random.Generator) -> bytes:
    """A CSV file of `rows`, the first of them the header, that is odd in one to three cells, rows or columns."""
    changed = [list(row) for row in rows]
    for _ in range(int(rng.integers(1, 4))):
        row = int(rng.integers(len(changed)))
        column = int(rng.integers(max(1, len(changed[row]))))
        match int(rng.integers(8)):
            case 0:
                del changed[row][column:]
            case 1:
                changed[row].append(_odd_cell(rng))
            case 2 if len(changed) > 1:
                del changed[row]
            case 3:
                changed.append(list(changed[row]))
            case 4:  # of any row, in the place of another one
                changed[row] = [*changed[row][:column], *changed[int(rng.integers(len(changed)))][column:]]
            case _ if changed[row]:
                changed[row][column] = _odd_cell(rng)
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if rng.random() < 0.1 else csv.QUOTE_MINIMAL
    csv.writer(text, lineterminator=str(rng.choice(["\n", "\r\n"])), quoting=quoting).writerows(changed)
    content = text.getvalue().encode(errors="surrogateescape" if rng.random() < 0.5 else "replace")
    return mutated(content, rng) if rng.random() < 0.1 else content


_ODD_CELLS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "-0",
        "1.0",
        "1e3",
        "9" * 18,
        "9" * 30,
        "nan",
        "NA",
        "None",
        "\u0663",
        "0x1",
        "1_0",
        "\u00b2",
    ),
    *(
        "train",
        "query",
        "Gallery",
        "path",
        "pid",
        "../a.jpg",
        "/a.jpg",
        "a//b.jpg",
        ".",
        "\x00",
        "a\nb",
        "\r",
        '"',
        "'",
    ),
    *(
        "=1+1",
        "@x",
        "\x9b31m",
        "\u202e",
        "\u2028",
        "\udc80",
        "x" * 5000,
        "y" * 200_000,
        "a/" * 2000 + "b",
        "\ufeff",
        ",",
    ),
)


def _odd_cell(rng: np.random.Generator) -> str:
    return _ODD_CELLS[int(rng.integers(len(_ODD_CELLS)))]
