"""Writes the members of a zip or tar file below a folder.

An archive comes from a stranger, so nothing in it is trusted: a name that leaves the folder, a link, a device, an
absurd size or number of members stops it, and what it says of its sizes is counted again as they are written.
"""

import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.common.disk_space import is_full, require_room
from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.preparation.tar_stream import open_tar, require_end

_ALWAYS_FINE = 2**30  # unpacked bytes that are no bomb at any ratio
_BLOCK = 2**20
_NAME_SHOWN = 200  # characters of a member's name
_LEFT_BEHIND = frozenset({"__MACOSX", ".DS_Store"})  # by the packing program, not part of the data
_ZIP_ENCRYPTED = 0x1 | 0x40  # bits of a member's flags
_DRIVE = re.compile(r"[A-Za-z]:/")


class Extraction:
    """One archive on its way out, with what it may ask for and what it has asked for so far.

    Args:
        archive: .zip by its name, else a tar file, compressed or not.
        max_bytes: that it may hold, unpacked.
        max_members: files and folders that it may hold.
        max_ratio: unpacked to packed bytes, looked at above a gigabyte.
        progress: called with the bytes of the archive that are done, and their total.

    Attributes:
        archive: as given.
        size: bytes of the archive.
        member: where it is, for a message.
    """

    def __init__(
        self,
        archive: Path,
        *,
        max_bytes: int,
        max_members: int,
        max_ratio: float,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self.archive = archive
        self.size = archive.stat().st_size
        self.member = "its beginning"
        self._max_bytes, self._max_members, self._max_ratio = max_bytes, max_members, max_ratio
        self._progress = progress
        self._num_members = self._declared = self._written = 0

    def run(self, folder: Path) -> None:
        """Writes all members below `folder`, which is empty.

        Raises:
            UserError: the archive is refused.
            Exception: whatever the readers of archives raise for one that is damaged, or the disk.
        """
        (self._run_zip if self.archive.name.lower().endswith(".zip") else self._run_tar)(folder)

    def _run_zip(self, folder: Path) -> None:
        """All members are looked at before the first is written."""
        with zipfile.ZipFile(self.archive) as opened:
            members = [(member, self._look_at_zip(member)) for member in opened.infolist()]
            require_room(folder, self._declared, f"the contents of {one_line(self.archive.name)}")
            done = 0
            for member, parts in members:
                self.member = _shown(member.filename)
                if parts and member.is_dir():
                    self._make_folder(folder.joinpath(*parts))
                elif parts:
                    with opened.open(member) as stream:
                        self._write(stream, folder.joinpath(*parts))
                done += member.compress_size
                self._tell(min(done, self.size))

    def _look_at_zip(self, member: zipfile.ZipInfo) -> tuple[str, ...]:
        parts = self._begin(member.filename, member.file_size)
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 if it was not packed under Unix
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._refused("is a link" if kind == stat.S_IFLNK else "is a device")
        if member.flag_bits & _ZIP_ENCRYPTED:
            raise self._refused("is encrypted (unpack it by hand)")
        return parts

    def _run_tar(self, folder: Path) -> None:
        """In one pass: to look at all members first would mean to decompress them twice."""
        with open_tar(self.archive, self._check_bytes) as (opened, stream, packed):
            while (member := opened.next()) is not None:
                opened.members = []  # type: ignore[attr-defined]  # it would keep every one that it has seen
                parts = self._begin(member.name, member.size)
                if not (member.isreg() or member.isdir()):
                    raise self._refused("is a link" if member.islnk() or member.issym() else "is a device")
                try:
                    tarfile.data_filter(member, str(folder))  # Python's own rules, should ours have a hole
                except tarfile.FilterError as error:
                    raise self._refused(f"is unsafe ({error})") from error
                if parts and member.isdir():
                    self._make_folder(folder.joinpath(*parts))
                elif parts and (source := opened.extractfile(member)) is not None:
                    with source:
                        self._write(source, folder.joinpath(*parts))
                self._tell(packed.tell())
            require_end(stream)
        self._tell(self.size)

    def _begin(self, name: str, size: int) -> tuple[str, ...]:
        """Counts a member; returns its folders and its name, none for what is left out."""
        self.member = _shown(name)
        self._num_members += 1
        if self._num_members > self._max_members:
            raise self._refused(f"is one member more than the {self._max_members:,} that are allowed")
        text = name.replace("\\", "/")  # some programs write Windows' separator
        path = PurePosixPath(text)
        if path.is_absolute() or _DRIVE.match(text):
            raise self._refused("has an absolute path")
        if ".." in path.parts:
            raise self._refused("leaves the folder (..)")
        if size < 0:
            raise self._refused("has a negative size")
        self._declared += size
        self._check_bytes(self._declared)
        return () if _LEFT_BEHIND.intersection(path.parts) else path.parts

    def _check_bytes(self, total: int) -> None:
        if total > self._max_bytes:
            raise self._refused(f"makes it unpack to more than {self._max_bytes / 1e9:,.1f} GB")
        if total > max(_ALWAYS_FINE, self._max_ratio * self.size):
            raise self._refused(f"makes it unpack to more than {self._max_ratio:,.0f} times its size (a bomb?)")

    def _make_folder(self, path: Path) -> None:
        with self._naming_the_member():
            path.mkdir(parents=True, exist_ok=True)

    def _write(self, stream: IO[bytes], path: Path) -> None:
        self._make_folder(path.parent)
        with self._naming_the_member():
            file = path.open("xb")
        with file:
            while block := stream.read(_BLOCK):
                self._written += len(block)
                self._check_bytes(self._written)
                file.write(block)

    @contextmanager
    def _naming_the_member(self) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, NotADirectoryError) as error:
            raise self._refused("is in it twice, or as a file and a folder") from error
        except OSError as error:
            if is_full(error):
                raise
            raise self._refused(f"cannot be written ({error.strerror})") from error

    def _refused(self, reason: str) -> UserError:
        return UserError(f"{one_line(self.archive)}: {self.member} {reason}: the archive is refused, all of it")

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self.size)


def _shown(name: str) -> str:
    return one_line(name if len(name) <= _NAME_SHOWN else name[:_NAME_SHOWN] + "...")
