"""Where links come from: tracklets of a table or of paths, and corrections by hand.

The crops of a tracklet are one individual. Two tracklets of one camera that were there at the same time are two. A file
`corrections.csv` in the data set's folder holds further links: its columns are kind (must_link, cannot_link or
outlier), path_a and path_b, with paths as in the catalogue; an outlier is one image, and has no path_b.
"""

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.text import csv_cell, one_line, some
from pipeline.datasets.links import COLUMNS, KINDS, Kind, Link, Links, links_of

CORRECTIONS = "corrections.csv"


class Span(NamedTuple):
    """When a tracklet was seen, and by which camera; in any unit that is the same for all."""

    camera: int | None
    start: float
    end: float


def tracklet_links(tracklets: Mapping[str, Sequence[str]], spans: Mapping[str, Span] | None = None) -> list[Link]:
    """The links that tracklets stand for.

    Args:
        tracklets: name -> paths of its images.
        spans: name -> when it was seen, of those that are known. Two of one camera that share a moment are kept apart,
            also where they begin at the same one and one of them lasts no longer; one that begins when another, earlier
            one ends is not. Where cameras are not known, two may have seen one individual.

    Returns:
        Chains of must-links, and one cannot-link between the first images of two tracklets.
    """
    links = [Link("must_link", a, b) for paths in tracklets.values() for a, b in itertools.pairwise(paths)]
    by_camera: dict[int, list[tuple[Span, str]]] = {}
    for name, span in (spans or {}).items():
        if span.camera is not None:
            by_camera.setdefault(span.camera, []).append((span, name))
    for seen in by_camera.values():
        open_: list[tuple[Span, str]] = []
        for span, name in sorted(seen, key=lambda each: (each[0].start, each[0].end, each[1])):
            open_ = [other for other in open_ if other[0].end > span.start or other[0].start == span.start]
            links += [Link("cannot_link", tracklets[other][0], tracklets[name][0]) for _, other in open_]
            open_.append((span, name))
    return links


def read_corrections(folder: Path, paths: Iterable[str]) -> list[Link]:
    """The links of `corrections.csv` in the folder of a data set; none where there is no such file.

    Args:
        folder: of the data set.
        paths: of all its images.

    Raises:
        UserError: see `correction_rows`, or it names an image that is not there.
    """
    known, links = set(paths), []
    for link, _ in correction_rows(folder / CORRECTIONS):
        for path in link.paths:
            if path not in known:
                raise UserError(f"{folder / CORRECTIONS}: there is no image {one_line(path)!r} in the data set")
        links.append(link)
    return links


def correction_rows(file: Path) -> list[tuple[Link, dict[str, str]]]:
    """The rows of a file of corrections, and what further columns hold; none where there is no such file.

    Raises:
        UserError: the file is not understood; the message names the line.
    """
    if not file.is_file():
        return []
    rows = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if tuple(header[: len(COLUMNS)]) != COLUMNS:
                found = one_line(",".join(header))
                raise UserError(f"{file}: its first line must begin with {','.join(COLUMNS)}, got {found}")
            for fields in reader:
                if any(field.strip() for field in fields):
                    rows.append(_row(file, reader.line_num, fields, header))
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: {error}") from error
    except csv.Error as error:
        raise UserError(f"{file}: line {reader.line_num}: {error} (is a quote missing?)") from error
    return rows


def _row(file: Path, line: int, fields: Sequence[str], header: Sequence[str]) -> tuple[Link, dict[str, str]]:
    if len(fields) != len(header):
        raise UserError(f"{file}: line {line} has {len(fields)} values, but there are {len(header)} columns")
    kind, *paths = fields[: len(COLUMNS)]
    if kind.strip() not in KINDS:
        raise UserError(f"{file}: line {line}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    more = dict(zip(header[len(COLUMNS) :], fields[len(COLUMNS) :], strict=True))
    link = Link(cast(Kind, kind.strip()), *paths)
    if link.kind == "outlier" and link.path_b:
        raise UserError(f"{file}: line {line}: an outlier is one image: leave path_b empty, got {link.path_b!r}")
    return link, more


def consistent_links(paths: Sequence[str], links: Sequence[Link], *, table: Path) -> Links | None:
    """The links of training images; None where there are none.

    Args:
        paths: of the training images; links that name others are left out.
        links: of the data set.
        table: where to list contradictions; removed where there are none.

    Raises:
        UserError: must-links join two images that a cannot-link keeps apart, or an outlier with another image.
    """
    found, contradictions = links_of(paths, links)
    if contradictions:
        with replacing(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            rows = [(link.kind, csv_cell(link.path_a), csv_cell(link.path_b)) for link in contradictions]
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
        raise UserError(f"{contradictions_text(contradictions)}; all are listed in {table}")
    table.unlink(missing_ok=True)
    return found if found.say_something else None


def contradictions_text(contradictions: Sequence[Link]) -> str:
    """What contradicts the must-links, see `links_of`, in one clause."""
    apart = [link for link in contradictions if link.kind == "cannot_link"]
    outliers = [link for link in contradictions if link.kind == "outlier"]
    told = []
    for links, what in ((apart, "cannot-links are between images"), (outliers, "outliers are images")):
        if links:
            shown = some((f"{one_line(a)} and {one_line(b)}" for _, a, b in links), shown=3)
            told.append(f"{len(links)} {what} that must-links (tracklets, {CORRECTIONS}) join: {shown}")
    return "; ".join(told)
