"""A compressed tar file as a stream that only moves forwards and is counted.

`tarfile` alone is too trusting for a file from a stranger: it reads a name of any length into memory, it follows
negative sizes back, and it takes a damaged header in the middle for the end.
"""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

_LARGEST_READ = 2**24  # a header with a name; files are read in smaller blocks
_BLOCK = 2**20
_MAGIC = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))


class CountedStream:
    """What `tarfile` needs of a file, forwards only.

    Attributes:
        last: what was read last.
    """

    def __init__(self, file: IO[bytes], count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count
        self.last = b""

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._file.read(size)
        self._count(self.tell())
        return self.last

    def seek(self, position: int) -> int:
        if position < self.tell():
            raise tarfile.ReadError("a member that begins before the one that it follows")
        while self.tell() < position and self.read(min(_BLOCK, position - self.tell())):
            pass
        return self.tell()


@contextmanager
def open_tar(path: Path, count: Callable[[int], None]) -> Iterator[tuple[tarfile.TarFile, CountedStream, BinaryIO]]:
    """Opens a tar file, compressed by gzip, bzip2, xz or not at all: its contents decide.

    Args:
        path: the archive.
        count: called with the number of bytes that have been decompressed.

    Yields:
        The tar file; the stream below it; the file below that, whose position tells the progress.
    """
    with path.open("rb") as packed:
        start = packed.read(6)
        packed.seek(0)
        opener = next((opener for magic, opener in _MAGIC if start.startswith(magic)), None)
        with closing(cast(IO[bytes], packed if opener is None else opener(packed))) as file:
            stream = CountedStream(file, count)
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as opened:
                yield opened, stream, packed


def require_end(stream: CountedStream) -> None:
    """Checks that a tar file did not just stop, and that what follows its end is whole.

    Raises:
        tarfile.ReadError: the last block is not the one that ends a tar file.
    """
    if stream.last != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("what follows is neither a member nor the end")
    while stream.read(_BLOCK):
        pass
