"""WildlifeReID-10k (Adam et al., arXiv 2406.09211): a table metadata.csv of animals, which names images below images/.

Its columns are identity, path, date, orientation, species, split, dataset and cluster_id: `dataset` is the member set
from which an image comes, and stands before each identity (ATRW_12). Of these, identity and path must be there, so that
the table of one member set, or of a challenge of the same makers (AnimalCLEF), is read as well. The split is train or
test (there: database or query); without that column, all images are for training.

All test images are queries, and all of them are the gallery, from which the protocol takes out the query itself and,
where something serves as the camera, what that camera shows of the query's individual. The benchmark of the makers
compares test images with training images instead; here the gallery holds nothing that was trained on. Individuals who
have one test image alone have no match, and their queries are not scored.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.text import first_line, one_line, some
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.names import Names
from pipeline.preparation.readers.csv_table import UNKNOWN
from pipeline.preparation.readers.layout import Reading, require

TABLE = "metadata.csv"
REQUIRED = ("identity", "path")
SPLITS_OF = {
    "train": ("train",),
    "database": ("train",),
    "test": ("query", "gallery"),
    "query": ("query", "gallery"),
}


def read(
    folder: Path, *, datasets: Sequence[str] = (), species: Sequence[str] = (), camera: str | None = None
) -> Reading:
    """Reads the catalogue from metadata.csv.

    Args:
        folder: holds metadata.csv and the images that it names.
        datasets: member sets to read, by the column `dataset`; none = all.
        species: likewise.
        camera: the column that serves as the camera, such as date or orientation; None = cameras are not known. Where
            several member sets are read, each has cameras of its own.

    Raises:
        UserError: the table is missing or not understood; it holds no such member set, species or column; or the
            column that serves as the camera is empty somewhere.
    """
    require(folder, (TABLE,), name="WildlifeReID-10k")
    source = folder / TABLE
    table = _read_table(source)
    for column, setting, wanted in (("dataset", "datasets", datasets), ("species", "species", species)):
        table = _selected(table, source, column, f"wildlife.{setting}", wanted)
    notes = []
    known = _known(table["identity"])
    splits = _splits(table, source)
    for split, what in (("train", "training images"), ("test", "test images")):
        members = splits == split
        if count := int((~known & members).sum()):
            told = "left out, as their individual is not known"
            if split == "train":
                told = "of individuals who are not known: identities are not used for the training images"
            notes.append(f"{source}: {count:,} of {int(members.sum()):,} {what} are {told}")
    named = known & ((splits == "test") | bool(known[splits == "train"].all()))
    kept = (splits == "train") | known
    identities = _numbered(table["identity"][named])
    chosen = table[kept]
    seen_by = pd.Series("", chosen.index) if camera is None else _camera_names(chosen, source, camera)
    cameras = {} if camera is None else _numbered(seen_by)
    columns = (chosen["path"], chosen["identity"], named[kept], seen_by, splits[kept])
    rows = [
        (str(path), identities[identity] if is_named else None, cameras.get(place), split)
        for path, identity, is_named, place, half in zip(*columns, strict=True)
        for split in SPLITS_OF[half]
    ]
    if not rows:
        raise UserError(f"{source} names no images that can be used")
    names = Names(*({number: name for name, number in each.items()} for each in (identities, cameras)))
    return Reading(from_rows(rows), notes=tuple(notes), names=names)


def _read_table(source: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:  # ParserError, EmptyDataError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{source} is not a table (UTF-8, commas): {first_line(error)}") from error
    if missing := [name for name in REQUIRED if name not in table]:
        found = some(map(one_line, table.columns))
        raise UserError(f"{source} has no column {', '.join(missing)}, only {found}")
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(f"{source}: its rows have more values than there are columns")
    return table.apply(lambda column: column.str.strip() if column.name != "path" else column)


def _selected(table: pd.DataFrame, source: Path, column: str, setting: str, wanted: Sequence[str]) -> pd.DataFrame:
    """The rows whose `column` is one of `wanted`; all, where nothing is wanted."""
    if not wanted:
        return table
    if column not in table:
        raise UserError(f"{setting} is {', '.join(wanted)}, but {source} has no column {column}: leave it empty")
    there = sorted(table[column].unique())
    if unknown := [name for name in wanted if name not in there]:
        raise UserError(f"{source} holds no {column} {unknown[0]!r} ({setting}): there are {some(there, shown=50)}")
    return table[table[column].isin(wanted)]


def _splits(table: pd.DataFrame, source: Path) -> "pd.Series[str]":
    """Of each row, train or test."""
    if "split" not in table:
        return pd.Series("train", table.index)
    wrong = ~table["split"].isin(SPLITS_OF)
    if wrong.any():
        line, value = int(table.index[wrong][0]) + 2, table["split"][wrong].iloc[0]
        raise UserError(f"{source}: row {line}: split must be one of {', '.join(SPLITS_OF)}, got {value!r}")
    return table["split"].map(lambda split: SPLITS_OF[split][0]).replace("query", "test")


def _known(column: "pd.Series[str]") -> "pd.Series[bool]":
    return ~(column.str.lower().isin(UNKNOWN) | (column == ""))


def _camera_names(table: pd.DataFrame, source: Path, camera: str) -> "pd.Series[str]":
    if camera not in table:
        raise UserError(f"wildlife.camera is {camera!r}, but {source} has only the columns {some(table.columns)}")
    missing = ~_known(table[camera])
    if missing.any():
        line = int(table.index[missing][0]) + 2
        raise UserError(
            f"{source}: column {camera} is empty in {int(missing.sum()):,} of {len(table):,} rows, such as row {line}: "
            "take member sets that have it (wildlife.datasets), or set wildlife.camera to none"
        )
    if "dataset" in table and len(table["dataset"].unique()) > 1:
        return table["dataset"] + " " + table[camera]
    return table[camera]


def _numbered(labels: "pd.Series[str]") -> dict[str, int]:
    """1, 2, ... in sorted order, whatever the labels: 0 would be a distractor."""
    return {name: number for number, name in enumerate(sorted(labels.unique()), 1)}
