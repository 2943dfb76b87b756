"""Finds and unpacks a data set's official archive that the user put where the data set is expected.

It is unpacked beside its place and renamed, so that the folder is there whole or not at all; the archive itself is left
alone. `tarfile` (its `data` filter) and `zipfile` see to it that no member is written outside the folder; links out of
it, devices and encrypted members stop the whole archive, and so does one that unpacks to absurdly many bytes.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.common.disk_space import require_room, told_if_full
from pipeline.common.errors import UserError
from pipeline.common.files import partial_path, read_json, remove_leftovers, sha256, write_json
from pipeline.common.text import one_line
from pipeline.preparation.extraction import Extraction
from pipeline.preparation.nesting import data_in, unnested

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_RATIO = 100.0  # of unpacked to packed bytes; photographs have 1

_COPY = re.compile(r"\s*(?:\(\d+\)|- copy)$")  # what a browser or a file manager appends to a second download

Report = Callable[[int, int], object]


def unpack_if_missing(
    raw: Path,
    name: str,
    folders: Sequence[Path],
    *,
    max_ratio: float = MAX_RATIO,
    progress: Report | None = None,
) -> Path | None:
    """Unpacks the archive of a data set, if the data set is not there and its archive is.

    The archive is looked for in `raw`, `raw`/<name> and beside the missing folder. It is named like that folder or like
    the data set, with one of `SUFFIXES`; case, punctuation and the " (1)" of a second download do not matter. If all
    that it holds lies in one folder, of whatever name, that is taken for the data set's folder; else its members become
    the folder's contents.

    Args:
        raw: the folder of raw data.
        name: the data set.
        folders: where the data set may lie, such as raw/msmt17/MSMT17_V1 and raw/msmt17/MSMT17_V2; nothing is done
            if any of them is there and not empty.
        max_ratio: unpacked to packed bytes, looked at above a gigabyte.
        progress: called with the bytes of the archive that are done, and their total.

    Returns:
        The archive that was unpacked, or None.

    Raises:
        UserError: several archives fit, or one is refused, damaged, encrypted or does not fit on the disk; the
            message names the archive and, where there is one to blame, the member.
    """
    present = [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]
    found = _archives(Path(raw), name, folders)
    if present:
        _require_more_than_archives(present[0], name)
        for archive in found:
            _require_same_archive(archive, present[0])
        return None
    if len(found) > 1:
        shown = ", ".join(one_line(archive) for archive in found)
        raise UserError(f"several archives could be {name}: {shown}: leave one of them there")
    for archive, folder in found.items():
        _unpack(archive, folder, max_ratio=max_ratio, progress=progress or (lambda done, total: None))
        write_json(_origin(folder), _identity(archive))
        return archive
    return None


def archive_suffix(path: Path) -> str | None:
    """The one of `SUFFIXES` that a name ends in, in any case."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def other_archives(raw: Path, name: str, folders: Sequence[Path]) -> list[Path]:
    """The archives where one of the data set `name` would lie that are called like neither it nor its folders."""
    places = dict.fromkeys((raw, raw / name, *(folder.parent for folder in folders)))
    files = (path for place in places if place.is_dir() for path in sorted(place.iterdir()) if path.is_file())
    named = _archives(raw, name, folders)
    return [path for path in files if archive_suffix(path) and path not in named]


def _archives(raw: Path, name: str, folders: Sequence[Path]) -> dict[Path, Path]:
    """Archive -> the folder that it becomes. A name that fits one of the folders counts before the data set's."""
    found: dict[Path, Path] = {}
    for folder in folders:
        places = dict.fromkeys(place for place in (raw, raw / name, folder.parent) if place.is_dir())
        for path in (path for place in places for path in sorted(place.iterdir())):
            if _is_archive_of(path, folder.name):
                found[path] = folder
            elif _is_archive_of(path, name):
                found.setdefault(path, folders[0])
    return found


def _is_archive_of(path: Path, name: str) -> bool:
    suffix = archive_suffix(path)
    if suffix is None or not path.is_file():
        return False
    return _plain(path.name[: -len(suffix)]) == _plain(name)


def _plain(name: str) -> str:
    """Letters and digits of a name."""
    return "".join(character for character in _COPY.sub("", name.lower()) if character.isalnum())


def _require_more_than_archives(folder: Path, name: str) -> None:
    """A data set's own folder with nothing but its archive in it is a mistake that is easily made."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if visible and all(_is_archive_of(path, folder.name) or _is_archive_of(path, name) for path in visible):
        shown = one_line(visible[0].name)
        raise UserError(f"{folder} holds only {shown}: move it to {folder.parent}, where it will be unpacked")


def _origin(folder: Path) -> Path:
    """What remembers which archive became `folder`."""
    return folder.with_name(f".{folder.name}.archive.json")


def _identity(archive: Path) -> dict[str, Any]:
    status = archive.stat()
    return {
        "archive": archive.name,
        "bytes": status.st_size,
        "time": status.st_mtime_ns,
        "sha256": sha256(archive),
    }


def _require_same_archive(archive: Path, folder: Path) -> None:
    """Raises UserError if `folder` was unpacked from this archive, and another one has taken its name since then."""
    origin = _origin(folder)
    known = read_json(origin) if origin.is_file() else {}
    status = archive.stat()
    if known.get("archive") != archive.name or (status.st_size, status.st_mtime_ns) == (known["bytes"], known["time"]):
        return
    if sha256(archive) != known["sha256"]:
        raise UserError(
            f"{one_line(archive)} is another archive than the one that {folder} was unpacked from: remove that folder "
            "to have it unpacked again, or the archive"
        )
    write_json(origin, _identity(archive))


def _unpack(archive: Path, folder: Path, *, max_ratio: float, progress: Report) -> None:
    place = next(parent for parent in folder.parents if parent.is_dir())
    what = f"the contents of {one_line(archive.name)}"
    require_room(place, archive.stat().st_size, what)
    extraction = Extraction(archive, max_ratio, progress)
    remove_leftovers(place / folder.name)
    with (
        extraction.errors_in_one_line(folder),
        told_if_full(place, what),
        _removed_afterwards(partial_path(place / folder.name)) as temporary,
    ):
        contents = temporary / "contents"
        contents.mkdir(parents=True)
        extraction.run(contents)
        if not any(contents.iterdir()):
            raise UserError(f"{one_line(archive)} is empty")
        folder.parent.mkdir(parents=True, exist_ok=True)
        top = data_in(contents)
        (unnested(top[0]) if len(top) == 1 and top[0].is_dir() else contents).rename(folder)


@contextmanager
def _removed_afterwards(folder: Path) -> Iterator[Path]:
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
