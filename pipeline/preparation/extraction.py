"""Writes the members of a zip or tar file below a folder, by `zipfile` and `tarfile`."""

import errno
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, cast

from pipeline.common.disk_space import require_room
from pipeline.common.errors import UserError
from pipeline.common.text import one_line

_ALWAYS_FINE = 2**30  # unpacked bytes that are no bomb at any ratio
_BLOCK = 2**20
_ADDED_BY_PROGRAMS = frozenset({"__MACOSX", ".DS_Store"})  # not part of the data
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


class Extraction:
    """One archive on its way out."""

    def __init__(self, archive: Path, max_ratio: float, progress: Callable[[int, int], object]) -> None:
        self.archive = archive
        self.size = archive.stat().st_size
        self.member = "its beginning"  # where it is, for a message
        self._limit = max(_ALWAYS_FINE, max_ratio * self.size)
        self._max_ratio = max_ratio
        self._progress = progress
        self._total = 0  # bytes that the members seen so far unpack to

    def run(self, folder: Path) -> None:
        """Writes all members below `folder`, which is empty."""
        (self._run_zip if self.archive.name.lower().endswith(".zip") else self._run_tar)(folder)

    def _run_zip(self, folder: Path) -> None:
        with zipfile.ZipFile(self.archive) as opened:
            members = opened.infolist()
            for member in members:
                member.filename = member.filename.replace("\\", "/")  # some programs write Windows' separator
                self._count(member.filename, member.file_size)
            require_room(folder, self._total, f"the contents of {one_line(self.archive.name)}")
            done = 0
            for member in members:
                self.member = one_line(member.filename)
                if not _ADDED_BY_PROGRAMS.intersection(PurePosixPath(member.filename).parts):
                    opened.extract(member, folder)
                done += member.compress_size
                self._progress(min(done, self.size), self.size)

    def _run_tar(self, folder: Path) -> None:
        """In one pass: looking at all members first would mean decompressing them twice."""
        with self.archive.open("rb") as packed, tarfile.open(fileobj=packed, mode="r:*") as opened:
            for member in opened:
                self._count(member.name, member.size)
                if not _ADDED_BY_PROGRAMS.intersection(PurePosixPath(member.name).parts):
                    opened.extract(member, folder, filter="data")
                self._progress(packed.tell(), self.size)
            self._require_end(opened)
        self._progress(self.size, self.size)

    def _require_end(self, opened: tarfile.TarFile) -> None:
        """`tarfile` takes a damaged header in the middle for the end. What follows the end has checksums to be read."""
        stream = cast(IO[bytes], opened.fileobj)
        stream.seek(opened.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("what follows is neither a member nor the end")
        while block := stream.read(_BLOCK):
            self._total += len(block)
            self._check_total()

    def _count(self, name: str, size: int) -> None:
        self.member = one_line(name)
        if size < 0:  # `tarfile` would go back by it, for ever
            raise tarfile.ReadError("a negative size")
        self._total += size
        self._check_total()

    def _check_total(self) -> None:
        if self._total > self._limit:
            raise self._refused(f"makes it unpack to more than {self._max_ratio:,.0f} times its size (a bomb?)")

    def _refused(self, reason: str) -> UserError:
        return UserError(f"{one_line(self.archive)}: {self.member} {reason}: the archive is refused, all of it")

    @contextmanager
    def errors_in_one_line(self, folder: Path) -> Iterator[None]:
        name = one_line(self.archive)
        try:
            yield
        except UserError:
            raise
        except tarfile.FilterError as error:
            raise self._refused(f"is unsafe ({one_line(error)})") from error
        except NotImplementedError as error:  # such as deflate64, which some programs use for large files
            raise UserError(f"{name}: {self.member}: {error}: unpack it by hand to {folder}") from error
        except (OSError, *_DAMAGED) as error:
            if "encrypted" in str(error):
                raise self._refused("is encrypted (unpack it by hand)") from error
            # EINVAL: a place in the archive that no file has.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise UserError(f"{name} cannot be unpacked to {folder}, at {self.member}: {error.strerror}") from error
            what = one_line(" ".join(f"{type(error).__name__}: {error}".split()))
            raise UserError(
                f"{name} is damaged or not fully downloaded, at {self.member} ({what}): get it again"
            ) from error
