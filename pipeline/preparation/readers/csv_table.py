"""A table of one's own images: columns path and split, and where they are known pid (identity) and camid (camera).

    path,split,pid,camid
    monday/0001.jpg,train,,gate
    tuesday/0007.jpg,query,anna,gate
    tuesday/0031.jpg,gallery,anna,yard

The table is UTF-8 text (with a byte order mark or without) with commas, semicolons or tabs between its columns, quotes
where a value needs them, and any of the usual line ends. A path is relative to the table's folder, with / between
folders. The split is train, query or gallery.

Whole numbers stay what they are, and 1, 01 and 1.0 are the same one: pid 0 is a distractor in the gallery; an image of
pid -1, junk, is left out. Where any other name occurs among the identities, all but 0 and -1 are numbered 1, 2, ... in
sorted order, those for training and for testing together; cameras likewise. An empty field, and the words of `UNKNOWN`
in any case, mean that identity or camera is not known. Identities, and so cameras, are given for all training images or
for none, and for all query and gallery images or for none: without, there is no evaluation.

The crops of a tracklet, a column of that name, are one individual; with the columns start and end (numbers in one unit
for all), two tracklets of one camera that overlap are two. The training uses both, for training images; those of query
and gallery are scored, and are each of one identity and one camera.

Whether every image is there is found out when it is decoded. A path that no file has stands for the file whose name
differs from it only in its Unicode form or in the case of its extension. Messages count lines as an editor does.
"""

import csv
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.text import one_line, some
from pipeline.datasets.catalogue import PATH_RULE, SPLITS, from_rows, is_image_path
from pipeline.datasets.names import Names
from pipeline.preparation.readers.labels import number_labels, whole_number
from pipeline.preparation.readers.layout import Reading
from pipeline.preparation.readers.tracklets import TRACK, Tracked, tracklets_of

REQUIRED, OPTIONAL = ("path", "split"), ("pid", "camid")
DELIMITERS = (",", "\t", ";")
JUNK, DISTRACTOR = "-1", "0"
UNKNOWN = frozenset({"nan", "na", "n/a", "<na>", "null", "none", "unknown"})


@dataclass(frozen=True)
class _Line:
    """One image as the table has it; `number` is the line where it starts, from 1."""

    number: int
    path: str
    split: str
    pid: str
    camid: str
    tracklet: str
    start: str
    end: str


def read(folder: Path, *, table: str) -> Reading:
    """Reads the catalogue from the table `table` in `folder`.

    Raises:
        UserError: the table is missing or not understood; the message names the line.
    """
    source = folder / table
    header, records = _read_records(source)
    lines, unknown_notes = _without_unknown(_read_lines(source, header, records))
    lines, path_notes = _with_real_paths(folder, lines)
    _check_unique(source, lines)
    junk = Counter(line.split for line in lines if _is(line.pid, JUNK))
    kept = [line for line in lines if not _is(line.pid, JUNK)]
    if not kept:
        raise UserError(f"{source} names no images" + (", only junk (pid -1)" if junk else ""))
    _check_known_together(source, kept)
    pids, identities, pid_note = _numbers(source, kept, "pid", "identities")
    camids, cameras, camid_note = _numbers(source, kept, "camid", "cameras")
    rows = [(line.path, pids[line.pid], camids[line.camid], line.split) for line in kept]
    left_out = ", ".join(f"{junk[split]:,} {split}" for split in SPLITS if split in junk)
    junk_notes = [f"left out as junk (pid -1): {left_out}"] if junk else []
    notes = [f"{source}: {note}" for note in (*unknown_notes, *path_notes, *junk_notes)]
    unknown = [one_line(name) or "one without a name" for name in header if name not in REQUIRED + OPTIONAL + TRACK]
    unused = [f"these columns are not used: {some(unknown)}"] if unknown else []
    warnings = tuple(f"{source}: {warning}" for warning in (*unused, *_distractor_queries(kept)))
    tracked = [
        Tracked(line.number, path, split, pid, camid, line.tracklet, line.start, line.end)
        for line, (path, pid, camid, split) in zip(kept, rows, strict=True)
    ]
    tracks = tracklets_of(tracked, source)
    notes += [note for note in (pid_note, camid_note, *tracks.notes) if note]
    names = Names(identities, cameras)
    return Reading(from_rows(rows), warnings, tuple(notes), names, tracks.links, tracks.numbers)


def _read_records(source: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and (line number, fields) of each record that is not blank."""
    if not source.is_file():
        raise UserError(
            f"{source} is missing: put your images and their table there (params.yaml: own.folder, own.table)"
        )
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not a text file in UTF-8: {error} (save it as CSV UTF-8)") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(first), strict=True)
    records, start = [], 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                records.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{source}: line {start}: {error} (is a quote missing?)") from error
    if not records:
        raise UserError(f"{source} is empty: its first line must name the columns {', '.join(REQUIRED)}")
    header = [name.strip() for name in records[0][1]]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        found = some(map(one_line, header))
        raise UserError(f"{source}: its first line must name the columns {', '.join(REQUIRED)}, got {found}")
    twice = [name for name, count in Counter(header).items() if count > 1 and name in REQUIRED + OPTIONAL + TRACK]
    if twice:
        raise UserError(f"{source}: there are two columns {twice[0]}")
    return header, records[1:]


def _delimiter(header: str) -> str:
    """The delimiter that finds most of the columns in the header; a comma, if none does."""
    known = [
        len({*REQUIRED, *OPTIONAL, *TRACK} & {name.strip(' "') for name in header.split(each)}) for each in DELIMITERS
    ]
    return DELIMITERS[known.index(max(known))]


def _read_lines(source: Path, header: list[str], records: Sequence[tuple[int, list[str]]]) -> list[_Line]:
    lines = []
    for number, fields in records:
        if len(fields) != len(header):
            raise UserError(f"{source}: line {number} has {len(fields)} values, but there are {len(header)} columns")
        values = dict(zip(header, fields, strict=True))
        split, path = values["split"].strip(), values["path"]  # spaces may be part of a file's name
        if split not in SPLITS:
            raise UserError(f"{source}: line {number}: split must be one of {', '.join(SPLITS)}, got {split!r}")
        if not is_image_path(path):
            raise UserError(f"{source}: line {number}: path must be {PATH_RULE}, got {path!r}")
        labels = {name: values.get(name, "").strip() for name in OPTIONAL + TRACK}
        lines.append(_Line(number, path, split, **labels))
    return lines


def _without_unknown(lines: list[_Line]) -> tuple[list[_Line], list[str]]:
    """The lines with empty fields for the words that mean unknown, and a note on each column that has some."""
    notes = []
    for name in OPTIONAL:
        words = Counter(label for line in lines if (label := getattr(line, name)).lower() in UNKNOWN)
        if words:
            shown = ", ".join(f"{count:,} {word}" for word, count in sorted(words.items()))
            notes.append(f"column {name}: taken for unknown: {shown}")
    return [_with_known(line) for line in lines], notes


def _with_known(line: _Line) -> _Line:
    known: dict[str, Any] = {name: _known(getattr(line, name)) for name in (*OPTIONAL, *TRACK)}
    return replace(line, **known)


def _known(label: str) -> str:
    return "" if label.lower() in UNKNOWN else label


def _with_real_paths(folder: Path, lines: list[_Line]) -> tuple[list[_Line], list[str]]:
    """The lines with the paths of the files that they mean, and a note if some are written differently."""
    names: dict[str, dict[str, list[str]]] = {}  # folder -> plain form of a name -> the names of that form
    found, changed = [], []
    for line in lines:
        if not os.path.exists(folder / line.path):  # noqa: PTH110 - False, too, where the name is too long
            parent, _, name = line.path.rpartition("/")
            if parent not in names:
                names[parent] = _names_by_form(folder / parent)
            same = names[parent].get(_form(name), [])
            if len(same) == 1:
                changed.append(f"line {line.number} ({one_line(line.path)})")
                line = replace(line, path=f"{parent}/{same[0]}" if parent else same[0])
        found.append(line)
    if not changed:
        return found, []
    return found, [
        f"{len(changed)} paths differ from their files in Unicode form or case of extension: {some(changed)}"
    ]


def _names_by_form(folder: Path) -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    if folder.is_dir():
        for path in folder.iterdir():
            forms.setdefault(_form(path.name), []).append(path.name)
    return forms


def _form(name: str) -> str:
    stem, dot, suffix = unicodedata.normalize("NFC", name).rpartition(".")
    return stem + dot + suffix.lower()


def _distractor_queries(lines: list[_Line]) -> list[str]:
    number = sum(line.split == "query" and _is(line.pid, DISTRACTOR) for line in lines)
    return [f"{number:,} query images have pid 0, which matches nothing: they are not scored"] if number else []


def _check_unique(source: Path, lines: list[_Line]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for line in lines:
        first = seen.setdefault((line.path, line.split), line.number)
        if first != line.number:
            raise UserError(
                f"{source}: line {line.number}: {one_line(line.path)} is a {line.split} image in line {first} already"
            )


def _check_known_together(source: Path, lines: list[_Line]) -> None:
    for name in OPTIONAL:
        for group, splits in {"train": ("train",), "query and gallery": ("query", "gallery")}.items():
            members = [line for line in lines if line.split in splits]
            without = [line for line in members if not getattr(line, name)]
            if 0 < len(without) < len(members):
                first = f"line {without[0].number} ({one_line(without[0].path)})"
                raise UserError(
                    f"{source}: {first} has no {name}, but other {group} images have one: give it for all of them or "
                    f"for none ({len(without)} have none)"
                )


def _numbers(
    source: Path, lines: list[_Line], column: str, what: str
) -> tuple[dict[str, int | None], dict[int, str], str | None]:
    """See `Numbering`; the empty label has no number."""
    for line in lines:
        number = whole_number(getattr(line, column))
        if number is not None and number < 0:
            least = "0 or more, or -1 for junk" if column == "pid" else "0 or more"
            raise UserError(f"{source}: line {line.number}: {column} must be {least}, got {number}")
    labels = {getattr(line, column) for line in lines} - {""}
    reserved = {label for label in labels if column == "pid" and _is(label, DISTRACTOR)}
    numbers, names, note = number_labels(labels - reserved, what=what)
    return {"": None, **numbers, **dict.fromkeys(reserved, 0)}, names, note


def _is(label: str, number: str) -> bool:
    return whole_number(label) == int(number)
