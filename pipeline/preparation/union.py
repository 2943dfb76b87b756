"""Several data sets as one: `dataset: union` is those that `union.datasets` names.

An image's path begins with the name of its data set. Identities and cameras of two data sets are never the same one:
each data set's numbers follow those of the one before. Distractors of a gallery (0) stay distractors.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.common import paths
from pipeline.common.contents import Folders
from pipeline.common.errors import UserError
from pipeline.config.schema import UNION, SourceSettings
from pipeline.datasets.catalogue import in_order
from pipeline.datasets.links import Link
from pipeline.datasets.names import Names
from pipeline.preparation.links import read_corrections
from pipeline.preparation.placing import reader_options
from pipeline.preparation.readers import Source, dataset_folder, open_dataset

_TEST = ("query", "gallery")


def parts_of(settings: SourceSettings) -> tuple[SourceSettings, ...]:
    """The settings of each data set that is read: of the members of a union, else the settings themselves.

    Raises:
        UserError: a union names fewer than two data sets, or one of them twice.
    """
    if settings.dataset != UNION:
        return (settings,)
    names = settings.union.datasets
    if len(names) < 2 or len(set(names)) < len(names) or UNION in names:
        raise UserError(
            "dataset is union: union.datasets must name two data sets or more, each once, such as "
            f"[market1501, personx]; got [{', '.join(names)}]"
        )
    return tuple(settings.model_copy(update={"dataset": name}) for name in names)


def folder_of(settings: SourceSettings) -> Path:
    """The folder of the data set below data/raw/, which holds its corrections.csv; a union has one of its own."""
    if settings.dataset == UNION:
        return paths.raw() / UNION
    return dataset_folder(settings.dataset, paths.raw(), options=reader_options(settings))


def folders_of(settings: SourceSettings) -> Folders:
    """The folder that the images lie in; of a union, that of each member.

    Raises:
        UserError: there is no such data set.
    """
    if settings.dataset != UNION:
        return folder_of(settings)
    return {part.dataset: folder_of(part) for part in parts_of(settings)}


def open_source(settings: SourceSettings) -> Source:
    """Reads the data set of the settings, which may be a union.

    Raises:
        UserError: see `parts_of`, `open_dataset` and `joined`.
    """
    options = reader_options(settings)
    parts = {part.dataset: open_dataset(part.dataset, paths.raw(), options=options) for part in parts_of(settings)}
    if settings.dataset != UNION:
        return parts[settings.dataset]
    return joined(parts, corrections=folder_of(settings))


def joined(parts: Mapping[str, Source], *, corrections: Path) -> Source:
    """One source of several.

    Test images of a data set without test identities are left out, and training images go without identities, or
    without cameras, where one of the data sets does not know them; notes say so.

    Args:
        parts: name -> data set.
        corrections: folder that may hold a corrections.csv with the paths of the union.

    Raises:
        UserError: cameras of the test images are known in some of the data sets and not in others: these cannot be
            scored by one protocol.
    """
    notes = [note for part in parts.values() for note in part.notes]
    tables = {name: _scorable(name, part.catalogue, notes) for name, part in parts.items()}
    _require_one_protocol(tables)
    for column, what in (("pid", "identities"), ("camid", "cameras")):
        without = [name for name, table in tables.items() if _unknown(table, ("train",), column)]
        if 0 < len(without) < len(parts):
            notes.append(f"{what} of the training images are not used: {', '.join(without)} has none")
            for table in tables.values():
                table.loc[table["split"] == "train", column] = pd.NA
    joint: list[pd.DataFrame] = []
    identities: dict[int, str] = {}
    cameras: dict[int, str] = {}
    links: list[Link] = []
    tracklets: dict[tuple[str, str], int] = {}
    for name, table in tables.items():
        part = parts[name]
        pids, camids = _numbered(table, "pid", identities), _numbered(table, "camid", cameras)
        identities |= {number: f"{name} {part.names.identity(own)}" for own, number in pids.items() if number}
        cameras |= {number: f"{name} {part.names.camera(own)}" for own, number in camids.items()}
        new_pids = table["pid"].map(pids, na_action="ignore").astype("Int64")
        new_camids = table["camid"].map(camids, na_action="ignore").astype("Int64")
        joint.append(table.assign(path=f"{name}/" + table["path"], pid=new_pids, camid=new_camids))
        links += [Link(kind, f"{name}/{a}", b and f"{name}/{b}") for kind, a, b in part.links]
        first = 1 + max(tracklets.values(), default=-1)
        tracklets |= {(split, f"{name}/{path}"): first + n for (split, path), n in part.tracklets.items()}
    catalogue = in_order(pd.concat(joint))
    return Source(
        {name: part.folder for name, part in parts.items() if isinstance(part.folder, Path)},
        catalogue,
        tuple(warning for part in parts.values() for warning in part.warnings),
        tuple(notes),
        Names(identities, cameras),
        (*links, *read_corrections(corrections, catalogue["path"])),
        tracklets,
    )


def _scorable(name: str, catalogue: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A copy of a catalogue, without its test images where their identities are not known."""
    if _unknown(catalogue, _TEST, "pid"):
        notes.append(f"the test images of {name} are left out: their identities are not known")
        return catalogue[catalogue["split"] == "train"].copy()
    return catalogue.copy()


def _unknown(catalogue: pd.DataFrame, splits: tuple[str, ...], column: str) -> bool:
    """Whether there are images of these splits, and nothing in this column of them."""
    part = catalogue[catalogue["split"].isin(splits)]
    return len(part) > 0 and bool(part[column].isna().any())


def _require_one_protocol(tables: Mapping[str, pd.DataFrame]) -> None:
    scored = [name for name, table in tables.items() if (table["split"] != "train").any()]
    without = [name for name in scored if _unknown(tables[name], _TEST, "camid")]
    if 0 < len(without) < len(scored):
        others = [name for name in scored if name not in without]
        raise UserError(
            f"union.datasets: the cameras of the test images are known in {', '.join(others)}, not in "
            f"{', '.join(without)}: one protocol cannot score both, join data sets that are alike"
        )


def _numbered(table: pd.DataFrame, column: str, taken: Mapping[int, str]) -> dict[int, int]:
    """Own number -> number in the union, behind all that are taken; a distractor stays 0."""
    own = {int(number) for number in table[column].dropna().unique()}
    in_gallery_alone = not (table["pid"][table["split"] != "gallery"] == 0).any()
    first = 1 + max(taken, default=-1 if in_gallery_alone or column == "camid" else 0)
    numbers = {number: first + number for number in own}
    return numbers | ({0: 0} if column == "pid" and 0 in own and in_gallery_alone else {})
