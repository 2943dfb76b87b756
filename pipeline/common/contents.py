"""The contents of a file or folder as one digest, quick to compute again: what DVC does not watch by itself.

Every file is read once; afterwards its size and time of change tell that it is the same. So a copy of the data on
another machine has the same digest, and a second look at a large data set reads no image. The time is that of the last
change of the file or its attributes, which no program can set: a file that is replaced by another one of the same size
and the same time of modification is noticed.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json, write_text
from pipeline.common.text import one_line

# Written by file managers as a user looks around; no part of any data.
_FILE_MANAGERS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
# A file that was changed less than this ago may change once more without its time telling.
_SETTLED_NS = 2 * 10**9

_BLOCK = 256  # files per task
_READ = 2**20

Folders = Path | Mapping[str, Path]  # of a data set; of one that is several, by the first part of an image's path
_Known = dict[str, tuple[int, int, str]]  # path -> size, time of change, digest


@dataclass(frozen=True)
class Contents:
    """What a file or folder holds.

    Attributes:
        files: how many, at any depth; links are followed.
        bytes: of all of them.
        digest: over their names and contents, 32 hexadecimal digits.
    """

    files: int
    bytes: int
    digest: str


def is_of_a_file_manager(name: str) -> bool:
    """Whether a file was left behind by whatever showed its folder to a user."""
    return name.lower() in _FILE_MANAGERS


def contents(path: Path, *, memory: Path) -> Contents | None:
    """The contents of `path`, or None if there is no such file, or a folder without files.

    Args:
        path: a file or a folder.
        memory: a folder in which the digests of files are remembered; it may be deleted at any time.

    Raises:
        UserError: a file cannot be read.
    """
    found = _files(path)
    if not found:
        return None
    place = memory / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]}.json"
    known = _remembered(place)
    now = time.time_ns()
    new = [name for name, status in found.items() if known.get(name, ())[:2] != status]
    blocks = [new[start : start + _BLOCK] for start in range(0, len(new), _BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = dict(zip(new, chain.from_iterable(pool.map(partial(_digests, path), blocks)), strict=True))
    if new or known.keys() != found.keys():
        known = {name: (*status, digests.get(name) or known[name][2]) for name, status in found.items()}
        settled = {name: entry for name, entry in known.items() if now - entry[1] > _SETTLED_NS}
        write_text(place, json.dumps(settled))
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(f"{len(os.fsencode(name))} ".encode() + os.fsencode(name) + known[name][2].encode())
    return Contents(len(found), sum(size for size, _ in found.values()), total.hexdigest()[:32])


def contents_of_all(folders: Folders, *, memory: Path) -> Contents | None:
    """As `contents`, of one folder or of several together; None if one of them is not there."""
    if isinstance(folders, Path):
        return contents(folders, memory=memory)
    total, found = hashlib.sha256(), []
    for name, folder in sorted(folders.items()):
        if (one := contents(folder, memory=memory)) is None:
            return None
        found.append(one)
        total.update(f"{name} {one.digest}\n".encode())
    return Contents(sum(one.files for one in found), sum(one.bytes for one in found), total.hexdigest()[:32])


def record_contents(record: Path, identity: dict[str, Any], path: Folders | None, *, memory: Path) -> None:
    """Writes `identity` and the contents of `path` to the JSON file `record`.

    If there is nothing at `path` (or it is None), a record of the same identity stays as it is.

    Args:
        record: is replaced.
        identity: what tells one source from another, such as the name of the data set.
        path: a file, a folder or several.
        memory: see `contents`.

    Raises:
        UserError: see `contents`.
    """
    found = None if path is None else contents_of_all(path, memory=memory)
    if found is not None:
        write_json(record, {**identity, **asdict(found)})
    elif not is_record_of(record, identity):
        write_json(record, identity)


def is_record_of(record: Path, identity: dict[str, Any]) -> bool:
    """Whether `record` exists and was written with this identity."""
    return record.is_file() and identity.items() <= read_json(record).items()


def _files(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file below `path`, by its name relative to it; of a file itself, by ""."""
    if not path.is_dir():
        return {"": _size_and_time(path.stat())} if path.is_file() else {}
    found: dict[str, tuple[int, int]] = {}
    seen: set[tuple[int, int]] = set()  # folders, as links may form circles
    waiting = [("", os.fspath(path), path.stat())]
    while waiting:
        prefix, place, status = waiting.pop()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            for entry in entries:
                if is_of_a_file_manager(entry.name):
                    continue
                name = prefix + entry.name
                try:
                    status = entry.stat()
                except OSError:
                    found[name] = (-1, -1)  # such as a link that leads nowhere
                    continue
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((f"{name}/", entry.path, status))
                else:
                    found[name] = _size_and_time(status)
    return found


def _size_and_time(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_ctime_ns


def _digests(folder: Path, names: list[str]) -> list[str]:
    return [_digest(folder / name if name else folder) for name in names]


def _digest(path: Path) -> str:
    if not path.is_file():
        return "none"  # a pipe, a device, a link that leads nowhere
    value = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_READ):
                value.update(block)
    except OSError as error:
        raise UserError(f"{one_line(path)} cannot be read: {error.strerror}") from error
    return value.hexdigest()[:32]


def _remembered(place: Path) -> _Known:
    try:
        values = json.loads(place.read_text(encoding="utf-8"))
        return {name: (int(size), int(changed), str(digest)) for name, (size, changed, digest) in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
