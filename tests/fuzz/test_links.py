"""Tracklets, corrections and kept links, damaged or odd: one line, or every link that the file names and no other."""

import csv
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.links import KINDS, Link, links_of, read_links, write_links
from pipeline.datasets.tracklets import read_tracklets
from pipeline.discovery.origin import ORIGIN, read_origin
from pipeline.preparation.links import CORRECTIONS, consistent_links, read_corrections
from pipeline.preparation.readers import csv_table
from pipeline.preparation.readers.labels import whole_number
from tests.fuzz.conftest import outcome
from tests.fuzz.mutations import mutated, mutated_json, mutated_table, rounds

Survive = Callable[[Callable[[Path], None], bytes, str], None]
PATHS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg")
TRACKLETS = [
    ["path", "split", "pid", "camid", "tracklet", "start", "end"],
    ["a.jpg", "train", "", "1", "t1", "0", "5"],
    ["b.jpg", "train", "", "1", "t1", "3", "9"],
    ["c.jpg", "train", "", "1", "t2", "8", "9.5"],
    ["d.jpg", "train", "", "2", "t3", "", ""],
    ["e.jpg", "query", "x", "2", "u1", "", ""],
    ["f.jpg", "gallery", "x", "1", "u2", "", ""],
]
LINKS = [
    ["kind", "path_a", "path_b"],
    ["must_link", "a.jpg", "b.jpg"],
    ["cannot_link", "b.jpg", "c.jpg"],
    ["must_link", "d.jpg", "c.jpg"],
    ["outlier", "e.jpg", ""],
]


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def plainly(content: bytes) -> list[list[str]]:
    """The rows of a CSV file, as the standard library alone reads it, but for empty ones."""
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return [row for row in rows if any(cell.strip() for cell in row)]


def read_table(path: Path) -> None:
    """Rows of one tracklet are one group; two of one camera that overlap are apart."""
    reading = csv_table.read(path.parent, table=path.name)
    header, *rows = plainly(path.read_bytes())
    header = [name.strip() for name in header]
    if "tracklet" not in header:  # nothing more to know, or columns that are not parted by commas
        return
    seen = [
        {name: cell if name == "path" else cell.strip() for name, cell in zip(header, row, strict=True)} for row in rows
    ]
    train = [row for row in seen if row["split"] == "train" and whole_number(row.get("pid", "")) != -1]
    paths = list(reading.catalogue["path"][reading.catalogue["split"] == "train"])
    groups = links_of(paths, reading.links)[0]
    place = {path: groups.groups[row] for row, path in enumerate(paths)}
    apart = {frozenset(pair) for pair in groups.apart.tolist()}
    known = [row for row in train if row["tracklet"] and row["tracklet"].lower() not in csv_table.UNKNOWN]
    assert sum(len(link.paths) for link in reading.links) or len({row["tracklet"] for row in known}) == len(known)
    spans: dict[str, list[float]] = {}
    for row in known:
        if row.get("start") and row["start"].lower() not in csv_table.UNKNOWN:
            span = spans.setdefault(row["tracklet"], [float("inf"), -float("inf")])
            span[:] = min(span[0], float(row["start"])), max(span[1], float(row["end"]))
    for one, other in itertools.combinations(known, 2):
        groups_of = place[one["path"]], place[other["path"]]
        assert (groups_of[0] == groups_of[1]) == (one["tracklet"] == other["tracklet"]), (one, other)
        a, b = spans.get(one["tracklet"]), spans.get(other["tracklet"])
        cameras = one.get("camid"), other.get("camid")
        if groups_of[0] != groups_of[1] and a and b and cameras in (("1", "1"), ("2", "2")):
            first, second = sorted((a, b))
            at_once = first[1] > second[0] or first[0] == second[0]
            assert (frozenset(groups_of) in apart) == at_once, (one, other)


def read_corrected(path: Path) -> None:
    """Every row is a link, in its order; what is kept of them is read again as it was written."""
    links = read_corrections(path.parent, PATHS)
    _, *rows = plainly(path.read_bytes())
    assert [tuple(link) for link in links] == [(row[0].strip(), *row[1:3]) for row in rows]
    assert {link.kind for link in links} <= set(KINDS)
    found = consistent_links(PATHS, links, table=path.with_name("contradictions.csv"))
    if found is not None:
        write_links(path.parent, PATHS, found)
        again = read_links(path.parent, PATHS)
        assert again is not None
        for one, other in zip(vars(found).values(), vars(again).values(), strict=True):
            np.testing.assert_array_equal(one, other)


def read_kept(path: Path) -> None:
    read_links(path.parent, PATHS)


def read_kept_tracklets(path: Path) -> None:
    found = read_tracklets(path.parent)
    assert all(number >= 0 for number in found.values())


KEPT_TRACKLETS = [["split", "path", "tracklet"], ["query", "a.jpg", "0"], ["gallery", "b.jpg", "1"]]
FILES = {
    "tracklets": (read_table, TRACKLETS, "images.csv"),
    "corrections": (read_corrected, LINKS, CORRECTIONS),
    "kept links": (read_kept, LINKS, "links.csv"),
    "kept tracklets": (read_kept_tracklets, KEPT_TRACKLETS, "tracklets.csv"),
}


@pytest.mark.parametrize("kind", FILES)
def test_links_with_odd_cells_are_read_or_refused_in_one_line(survive: Survive, kind: str) -> None:
    read, rows, name = FILES[kind]
    rng = np.random.default_rng(1)
    for _ in rounds(f"odd cells, {kind}"):
        survive(read, mutated_table(rows, rng), name)


@pytest.mark.parametrize("kind", FILES)
def test_damaged_links_are_read_or_refused_in_one_line(survive: Survive, kind: str) -> None:
    read, rows, name = FILES[kind]
    rng = np.random.default_rng(2)
    good = as_csv(rows)
    for _ in rounds(f"damaged, {kind}"):
        survive(read, mutated(good, rng), name)


def test_random_links_are_kept_or_contradict_each_other(tmp_path: Path) -> None:
    """Right rows in any number and order: against a closure by loops."""
    rng = np.random.default_rng(3)
    for _ in rounds("links"):
        links = [_random_link(rng) for _ in range(rng.integers(0, 9))]
        content = as_csv([LINKS[0], *map(list, links)])
        (tmp_path / CORRECTIONS).write_bytes(content)
        group = {path: {path} for path in PATHS}
        for kind, a, b in links:
            if kind == "must_link":
                joined = group[a] | group[b]
                for path in joined:
                    group[path] = joined
        against = any(kind == "cannot_link" and b in group[a] for kind, a, b in links)
        against |= any(kind == "outlier" and len(group[a]) > 1 for kind, a, _ in links)
        told = outcome(read_corrected, tmp_path / CORRECTIONS)
        assert ("that must-links" in told) == against and (told == "read" or against)


def _random_link(rng: np.random.Generator) -> Link:
    kind = KINDS[rng.integers(3)]
    a, b = (PATHS[row] for row in rng.choice(len(PATHS), 2, replace=False))
    return Link(kind, a, "" if kind == "outlier" else b)  # type: ignore[arg-type]


def test_odd_origin_of_a_discovery_is_read_or_refused_in_one_line(survive: Survive) -> None:
    rng = np.random.default_rng(4)
    good = {"folder": "/x", "model": None, "role": None, "backbone": "resnet10", "pretrained": "none", "size": [64, 32]}
    for _ in rounds("origin of a discovery"):
        content = mutated_json({**good, "camera": None, "skip_bad": False, "digest": "0"}, rng)
        survive(lambda path: read_origin(path.parent) and None, content.encode(errors="replace"), ORIGIN)
