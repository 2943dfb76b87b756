"""Archives: damaged or hostile, they become a whole folder or none, in one line, and nothing else is written."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.preparation.archives import unpack_if_missing
from tests.fuzz.mutations import mutated, rounds

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
CONTENTS = {f"images/cam{number % 3}/{number:04d}.jpg": bytes([number]) * 700 for number in range(9)}
_NAMES = (
    *(
        "a.jpg",
        "../a.jpg",
        "/a.jpg",
        "images",
        "images/a.jpg",
        "",
        ".",
        "..",
        "a/../../b",
        "C:\\a",
        "\\a",
        "a\0b",
        "\x9bm",
    ),
    *("a\nb", "x" * 300, "d/" * 200 + "a", "__MACOSX/a", "images/cam0/0000.jpg", "images/cam0/0000.jpg/a", "\u202ea"),
)
_KINDS = (
    *(tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE),
    *(tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE),
)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "raw"
    folder.mkdir(parents=True)
    return folder


def pack(path: Path, members: list[tuple[str, bytes]]) -> bytes:
    """The bytes of an archive of the kind that `path` ends in."""
    mode: Any = f"w:{path.suffix[1:].replace('tar', '')}"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, data in members:
                zipped.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    else:
        with tarfile.open(path, mode) as packed:
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                packed.addfile(member, io.BytesIO(data))
    content = path.read_bytes()
    path.unlink()
    return content


def throw(raw: Path, name: str, content: bytes) -> None:
    """Unpacks `content` as the data set's archive; what is there afterwards is the folder alone, or nothing."""
    archive, folder = raw / name, raw / "mine"
    archive.write_bytes(content)
    top = set(raw.parent.parent.iterdir())
    try:
        unpack_if_missing(raw, "folder", [folder], max_ratio=100)
    except UserError as error:
        assert str(error).isprintable() and not folder.exists()
    except Exception:
        (raw.parent.parent / f"kept-{name}").write_bytes(content)
        raise
    left = {path.name for path in raw.iterdir()} - {archive.name, "mine", ".mine.archive.json"}
    assert not left and set(raw.parent.parent.iterdir()) == top and list(raw.parent.iterdir()) == [raw]
    for path in folder.rglob("*"):
        kind = path.lstat().st_mode
        inside = Path(os.path.realpath(path)).is_relative_to(folder.resolve())  # links may form circles
        assert stat.S_ISREG(kind) or stat.S_ISDIR(kind) or (stat.S_ISLNK(kind) and inside), path
    for parent, folders, _ in os.walk(folder):
        for each in folders:
            if not (Path(parent) / each).is_symlink():
                (Path(parent) / each).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
    (raw / ".mine.archive.json").unlink(missing_ok=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_archive_becomes_a_folder_or_one_line(raw: Path, suffix: str) -> None:
    rng = np.random.default_rng(1)
    good = pack(raw / f"good{suffix}", list(CONTENTS.items()))
    for _ in rounds(f"damaged {suffix}"):
        throw(raw, f"mine{suffix}", mutated(good, rng, head=len(good)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archive_of_odd_names_becomes_a_folder_or_one_line(raw: Path, suffix: str) -> None:
    rng = np.random.default_rng(2)
    for _ in rounds(f"odd names, {suffix}"):
        members = list(CONTENTS.items())
        for _ in range(int(rng.integers(1, 4))):
            name = str(rng.choice(_NAMES))
            members.insert(int(rng.integers(len(members) + 1)), (name, b"x" * int(rng.integers(3))))
        throw(raw, f"mine{suffix}", pack(raw / f"good{suffix}", members))


def test_tar_of_odd_members_becomes_a_folder_or_one_line(raw: Path) -> None:
    """Links, devices, and files of sizes that they do not have."""
    rng = np.random.default_rng(3)
    good = pack(raw / "good.tar", list(CONTENTS.items()))
    for _ in rounds("odd members, .tar"):
        content = bytearray(good)
        for _ in range(int(rng.integers(1, 3))):
            member = tarfile.TarInfo(str(rng.choice([*_NAMES[:4], *CONTENTS])))
            member.type = _KINDS[int(rng.integers(len(_KINDS)))]
            member.linkname = str(rng.choice([*CONTENTS, "..", "/etc/passwd", "images", "a.jpg", "", "x" * 90]))
            member.mode = int(rng.choice([0, 0o777, 0o7777]))
            header = member.tobuf(tarfile.GNU_FORMAT)
            place = 512 * int(rng.integers(len(CONTENTS) * 3)) if rng.random() < 0.3 else 1536 * int(rng.integers(9))
            content[place:place] = header
        throw(raw, "mine.tar", bytes(content))
