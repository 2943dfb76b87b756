"""Tracklets of a table of images: the columns tracklet, start and end.

Those of training images become links. Those of query and gallery images are scored as a whole, so each must be of one
identity and one camera.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.datasets.links import Link
from pipeline.preparation.links import Span, tracklet_links

TRACK = ("tracklet", "start", "end")
_HEADER = ("path", *TRACK)


class Tracked(NamedTuple):
    """An image and what a table says of its tracklet; fields that are empty or None are not known."""

    line: int
    path: str
    split: str
    pid: int | None
    camid: int | None
    tracklet: str
    start: str
    end: str


class Tracks(NamedTuple):
    """What tracklets say of images.

    Attributes:
        links: of training images.
        numbers: (split, path) -> number of the tracklet, from 0, of query and gallery images that are of one.
        notes: how many there are, one line each.
    """

    links: tuple[Link, ...] = ()
    numbers: Mapping[tuple[str, str], int] = {}
    notes: tuple[str, ...] = ()


def tracklets_of(images: Sequence[Tracked], source: Path) -> Tracks:
    """The tracklets of the images of a data set.

    Args:
        images: in the order of the table.
        source: the table, for messages.

    Raises:
        UserError: start and end of a training image are not understood; a training tracklet with them is of two
            cameras; one of the test half is of two cameras or two identities. The message names the line.
    """
    links, count, held = _training([image for image in images if image.split == "train"], source)
    numbers = _numbered([image for image in images if image.split != "train"], source)
    notes = []
    if numbers:
        each = {(split, number) for (split, _), number in numbers.items()}
        notes.append(f"{len(each):,} tracklets hold {len(numbers):,} query and gallery images")
    if count:
        notes.append(f"{count:,} tracklets hold {held:,} training images")
    return Tracks(tuple(links), numbers, tuple(notes))


def read_drawn(file: Path, catalogue: pd.DataFrame) -> list[Tracked]:
    """The images of a catalogue with what a table of its tracklets (path, tracklet, start, end) says of them.

    Raises:
        UserError: there is no such table, or it is damaged.
    """
    advice = f"remove {file.parent}, and it is drawn again"
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            header, *rows = csv.reader(opened)
        known = {path: (number, track) for number, (path, *track) in enumerate(rows, 2)}
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing: {advice}") from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"{file} is damaged: {advice}") from error
    if tuple(header) != _HEADER or any(len(track) != len(TRACK) for _, track in known.values()):
        raise UserError(f"{file} is damaged: {advice}")
    found = []
    for path, pid, camid, split in catalogue.itertuples(index=False, name=None):
        line, track = known.get(path, (0, [""] * len(TRACK)))
        found.append(Tracked(line, path, split, pid, camid, *track))
    return found


def _training(images: Iterable[Tracked], source: Path) -> tuple[list[Link], int, int]:
    """The links of training images, how many tracklets there are, and how many images these hold."""
    tracklets: dict[str, list[str]] = {}
    spans: dict[str, Span] = {}
    for image in images:
        if bool(image.start) != bool(image.end):
            raise UserError(f"{source}: line {image.line}: give both start and end, or neither")
        if not image.tracklet:
            if image.start:
                raise UserError(f"{source}: line {image.line}: start and end are of a tracklet, and there is none")
            continue
        tracklets.setdefault(image.tracklet, []).append(image.path)
        if image.start:
            span = Span(image.camid, _moment(source, image, "start"), _moment(source, image, "end"))
            if span.start > span.end:
                raise UserError(f"{source}: line {image.line}: start {image.start} is after end {image.end}")
            before = spans.setdefault(image.tracklet, span)
            if before.camera != image.camid:
                raise UserError(f"{source}: line {image.line}: tracklet {one_line(image.tracklet)} is of two cameras")
            spans[image.tracklet] = Span(image.camid, min(before.start, span.start), max(before.end, span.end))
    return tracklet_links(tracklets, spans), len(tracklets), sum(map(len, tracklets.values()))


def _numbered(images: Iterable[Tracked], source: Path) -> dict[tuple[str, str], int]:
    """See `Tracks.numbers`; a tracklet may have images on both sides."""
    first: dict[str, Tracked] = {}
    number: dict[str, int] = {}
    found = {}
    for image in images:
        if not image.tracklet:
            continue
        other = first.setdefault(image.tracklet, image)
        for what, one, two in (("identities", other.pid, image.pid), ("cameras", other.camid, image.camid)):
            if one != two:
                raise UserError(
                    f"{source}: line {image.line}: tracklet {one_line(image.tracklet)} is of two {what}, this one and "
                    f"that of line {other.line}"
                )
        found[image.split, image.path] = number.setdefault(image.tracklet, len(number))
    return found


def _moment(source: Path, image: Tracked, column: str) -> float:
    text = getattr(image, column)
    try:
        moment = float(text)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment):
        raise UserError(f"{source}: line {image.line}: {column} must be a number (seconds, frames), got {text!r}")
    return moment
