"""Tracklets of a table of images: the columns tracklet, start and end."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.datasets.links import Link
from pipeline.preparation.links import Span, tracklet_links

TRACK = ("tracklet", "start", "end")


class Line(Protocol):
    """A line of a table, its fields as they came; an empty one is not known."""

    @property
    def number(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def tracklet(self) -> str: ...
    @property
    def start(self) -> str: ...
    @property
    def end(self) -> str: ...


def tracklets_of(lines: Iterable[tuple[Line, int | None]], source: Path) -> tuple[list[Link], str | None]:
    """The links that the tracklets of training images stand for, and a note on how many there are.

    Args:
        lines: of the training images, each with the number of its camera.
        source: the table, for messages.

    Raises:
        UserError: start and end are not understood, or a tracklet with them is of two cameras; the message names the
            line.
    """
    tracklets: dict[str, list[str]] = {}
    spans: dict[str, Span] = {}
    for line, camera in lines:
        if bool(line.start) != bool(line.end):
            raise UserError(f"{source}: line {line.number}: give both start and end, or neither")
        if not line.tracklet:
            if line.start:
                raise UserError(f"{source}: line {line.number}: start and end are of a tracklet, and there is none")
            continue
        tracklets.setdefault(line.tracklet, []).append(line.path)
        if line.start:
            span = Span(camera, _moment(source, line, "start"), _moment(source, line, "end"))
            if span.start > span.end:
                raise UserError(f"{source}: line {line.number}: start {line.start} is after end {line.end}")
            before = spans.setdefault(line.tracklet, span)
            if before.camera != camera:
                raise UserError(f"{source}: line {line.number}: tracklet {one_line(line.tracklet)} is of two cameras")
            spans[line.tracklet] = Span(camera, min(before.start, span.start), max(before.end, span.end))
    images = sum(map(len, tracklets.values()))
    note = f"{len(tracklets):,} tracklets hold {images:,} training images" if tracklets else None
    return tracklet_links(tracklets, spans), note


def _moment(source: Path, line: Line, column: str) -> float:
    text = getattr(line, column)
    try:
        moment = float(text)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment):
        raise UserError(f"{source}: line {line.number}: {column} must be a number (seconds, frames), got {text!r}")
    return moment
