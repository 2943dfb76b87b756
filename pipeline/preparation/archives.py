"""Finds and unpacks a data set's official archive that a person put where the data set is expected.

It is unpacked beside its place and renamed, so that the folder is there whole or not at all. The archive itself is
left alone. What is refused in it is told in `pipeline.preparation.extraction`.
"""

import errno
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path

from pipeline.common.disk_space import require_room, told_if_full
from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.preparation.extraction import Extraction

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_BYTES = 200 * 10**9  # unpacked; the largest of the named data sets has a tenth of it
MAX_MEMBERS = 3_000_000
MAX_RATIO = 100.0  # of unpacked to packed bytes; photographs have 1

# What the readers of archives raise for one that is damaged, beside OSErrors without a number.
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    struct.error,
    ValueError,
    LookupError,
    OverflowError,
    RuntimeError,
    MemoryError,
)


def unpack_if_missing(
    raw: Path,
    name: str,
    folders: Sequence[Path],
    *,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
    max_ratio: float = MAX_RATIO,
    progress: Callable[[int, int], object] | None = None,
) -> Path | None:
    """Unpacks the archive of a data set, if the data set is not there and its archive is.

    The archive is looked for in `raw`, `raw`/<name> and beside the missing folder. It is named like that folder, with
    one of `SUFFIXES`, whatever the case. If all that it holds lies in one folder, of whatever name, that is taken for
    the data set's folder; else its members become the folder's contents.

    Args:
        raw: the folder of raw data.
        name: the data set.
        folders: where the data set may lie, such as raw/msmt17/MSMT17_V1 and raw/msmt17/MSMT17_V2; nothing is done
            if any of them is there and not empty.
        max_bytes: that it may hold, unpacked.
        max_members: files and folders that it may hold.
        max_ratio: unpacked to packed bytes, looked at above a gigabyte.
        progress: called with the bytes of the archive that are done, and their total.

    Returns:
        The archive that was unpacked, or None.

    Raises:
        UserError: several archives fit, or one is refused, damaged, encrypted or does not fit on the disk; the
            message names the archive and, where there is one to blame, the member.
    """
    present = [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]
    if present:
        _require_more_than_archives(present[0])
        return None
    found = {archive: folder for folder in folders for archive in _archives_of(folder, Path(raw), name)}
    if len(found) > 1:
        shown = ", ".join(one_line(archive) for archive in found)
        raise UserError(f"several archives could be {name}: {shown}: leave one of them there")
    for archive, folder in found.items():
        extraction = Extraction(
            archive, max_bytes=max_bytes, max_members=max_members, max_ratio=max_ratio, progress=progress
        )
        _unpack(extraction, folder)
        return archive
    return None


def _is_archive_of(folder: Path, path: Path) -> bool:
    return path.name.lower() in {(folder.name + suffix).lower() for suffix in SUFFIXES} and path.is_file()


def _archives_of(folder: Path, raw: Path, name: str) -> list[Path]:
    places = dict.fromkeys(place for place in (raw, raw / name, folder.parent) if place.is_dir())
    return [path for place in places for path in sorted(place.iterdir()) if _is_archive_of(folder, path)]


def _require_more_than_archives(folder: Path) -> None:
    """A data set's own folder with nothing but its archive in it is a mistake that is easily made."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if visible and all(_is_archive_of(folder, path) for path in visible):
        shown = one_line(visible[0].name)
        raise UserError(f"{folder} holds only {shown}: move it to {folder.parent}, where it will be unpacked")


def _unpack(extraction: Extraction, folder: Path) -> None:
    place = next(parent for parent in folder.parents if parent.is_dir())
    what = f"the contents of {one_line(extraction.archive.name)}"
    require_room(place, extraction.size, what)
    with (
        _told_what_is_wrong(extraction, folder),
        told_if_full(place, what),
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.unpacking-", dir=place) as temporary,
    ):
        contents = Path(temporary) / "contents"
        contents.mkdir()
        extraction.run(contents)
        top = list(contents.iterdir())
        if not top:
            raise UserError(f"{one_line(extraction.archive)} is empty")
        folder.parent.mkdir(parents=True, exist_ok=True)
        (top[0] if len(top) == 1 and top[0].is_dir() else contents).rename(folder)


@contextmanager
def _told_what_is_wrong(extraction: Extraction, folder: Path) -> Iterator[None]:
    name = one_line(extraction.archive)
    try:
        yield
    except UserError:
        raise
    except NotImplementedError as error:  # such as deflate64, which some programs use for large files
        raise UserError(f"{name}: {extraction.member}: {error}: unpack it by hand to {folder}") from error
    except (OSError, *_DAMAGED) as error:
        # EINVAL: a place in the archive that no file has.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise UserError(f"{name} cannot be unpacked to {folder}: {error.strerror}") from error
        what = one_line(" ".join(f"{type(error).__name__}: {error}".split()))
        raise UserError(
            f"{name} is damaged or not fully downloaded, at {extraction.member} ({what}): get it again"
        ) from error
