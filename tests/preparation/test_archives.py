"""Archives: where they are looked for, what becomes of their folders, and everything that is refused."""

import errno
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.preparation import extraction
from pipeline.preparation.archives import unpack_if_missing
from pipeline.preparation.readers import FOLDERS

KINDS: dict[str, Any] = {
    ".zip": None,
    ".tar": "w",
    ".tar.gz": "w:gz",
    ".tgz": "w:gz",
    ".tar.bz2": "w:bz2",
    ".tbz2": "w:bz2",
    ".tar.xz": "w:xz",
    ".txz": "w:xz",
}
CONTENTS = {"bounding_box_train/a.jpg": b"a" * 3000, "query/ü b.jpg": b"\0\xff" * 50, "readme.txt": b""}
MARKET = "market1501/Market-1501-v15.09.15"


def pack(path: Path, contents: dict[str, bytes]) -> Path:
    """Writes an archive of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = next(mode for suffix, mode in KINDS.items() if path.name.lower().endswith(suffix))
    if mode is None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in contents.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as packed:
            for name, data in contents.items():
                packed.addfile(file_member(name, size=len(data)), io.BytesIO(data))
    return path


def file_member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member


def pack_raw(archive: Path, names: list[str]) -> None:
    """Members of one byte, named to the letter."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name in names:
                member = zipfile.ZipInfo("x")
                member.filename = name
                packed.writestr(member, b"x")
    else:
        with tarfile.open(archive, "w:gz") as packed:
            for name in names:
                packed.addfile(file_member(name, size=1), io.BytesIO(b"x"))


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "raw"
    folder.mkdir(parents=True)
    return folder


def refused(raw: Path, match: str, **limits: object) -> None:
    """Asserts that the archive is refused in one line, and that nothing has changed."""
    before = sorted(raw.parent.rglob("*"))
    with pytest.raises(UserError, match=match) as caught:
        unpack_if_missing(raw, "market1501", [raw / MARKET], **limits)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and "Market-1501-v15.09.15." in str(caught.value)
    assert sorted(raw.parent.rglob("*")) == before


@pytest.mark.parametrize("place", ["", "market1501"])
@pytest.mark.parametrize("top", ["", "Market-1501-v15.09.15/", "market (1)/"])
@pytest.mark.parametrize("suffix", KINDS)
def test_unpack_makes_the_folder(raw: Path, suffix: str, top: str, place: str) -> None:
    archive = pack(
        raw / place / f"Market-1501-v15.09.15{suffix}", {top + name: data for name, data in CONTENTS.items()}
    )
    done: list[tuple[int, int]] = []
    found = unpack_if_missing(raw, "market1501", [raw / MARKET], progress=lambda *position: done.append(position))
    assert found == archive and archive.is_file()
    assert tree(raw / MARKET) == CONTENTS
    assert sorted(done) == done and done[-1][0] <= done[-1][1] == archive.stat().st_size
    assert {path.name for path in raw.rglob("*")}.isdisjoint({"contents", "market (1)"})
    assert [path.name for path in raw.rglob(".*")] == [".Market-1501-v15.09.15.archive.json"]  # nothing temporary
    assert unpack_if_missing(raw, "market1501", [raw / MARKET]) is None  # it is there now


@pytest.mark.parametrize(
    ("name", "archive", "folder"),
    [
        ("market1501", "Market-1501-v15.09.15.zip", MARKET),
        ("market1501", "market1501/Market-1501-v15.09.15 (1).zip", MARKET),
        ("market1501", "market_1501.ZIP", MARKET),
        ("market1501", "market1501/market1501 - Copy.tar.gz", MARKET),
        ("dukemtmc", "DukeMTMC-reID.zip", "dukemtmcreid/DukeMTMC-reID"),
        ("dukemtmc", "dukemtmc/DukeMTMC-reID.zip", "dukemtmcreid/DukeMTMC-reID"),
        ("dukemtmc", "DukeMTMC.zip", "dukemtmcreid/DukeMTMC-reID"),
        ("msmt17", "MSMT17_V1.tar.gz", "msmt17/MSMT17_V1"),
        ("msmt17", "msmt17/MSMT17_V2.tar.gz", "msmt17/MSMT17_V2"),
        ("veri", "veri/VeRi.zip", "veri/VeRi"),
        ("vehicleid", "VehicleID_V1.0.zip", "vehicleid/VehicleID_V1.0"),
        ("vehicleid", "vehicleid/vehicleid.ZIP", "vehicleid/VehicleID"),
        ("folder", "birds.tar.xz", "birds"),
        ("csv", "my.cars.zip", "my.cars"),
    ],
)
def test_unpack_knows_the_official_names(raw: Path, name: str, archive: str, folder: str) -> None:
    pack(raw / "other.zip", CONTENTS)
    pack(raw / archive, CONTENTS)
    folders = [raw / each for each in FOLDERS.get(name, (folder,))]
    assert unpack_if_missing(raw, name, folders) == raw / archive
    assert tree(raw / folder) == CONTENTS
    assert [each for each in folders if each.is_dir()] == [raw / folder]


def test_unpack_of_the_second_of_two_folders(raw: Path) -> None:
    folders = [raw / "msmt17" / "MSMT17_V1", raw / "msmt17" / "MSMT17_V2"]
    pack(raw / "msmt17" / "MSMT17_V2.tar.gz", {f"MSMT17_V2/{name}": data for name, data in CONTENTS.items()})
    unpack_if_missing(raw, "msmt17", folders)
    assert not folders[0].exists() and tree(folders[1]) == CONTENTS
    pack(raw / "msmt17" / "MSMT17_V1.tar.gz", CONTENTS)
    assert unpack_if_missing(raw, "msmt17", folders) is None  # one is there already
    assert not folders[0].exists()


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_unpack_of_a_folder_in_a_folder_of_the_same_name(raw: Path, suffix: str) -> None:
    twice = "Market-1501-v15.09.15/market-1501-v15.09.15/"
    contents = {f"{twice}{name}": data for name, data in CONTENTS.items()} | {"Market-1501-v15.09.15/.DS_Store": b"x"}
    pack(raw / f"Market-1501-v15.09.15 (1){suffix}", contents)
    unpack_if_missing(raw, "market1501", [raw / MARKET])
    assert (raw / MARKET / "query/ü b.jpg").read_bytes() == CONTENTS["query/ü b.jpg"]
    assert not [path for path in (raw / "market1501").iterdir() if "partial" in path.name]


def test_unpack_without_an_archive_does_nothing(raw: Path) -> None:
    pack(raw / "Market-1502.zip", CONTENTS)
    (raw / "Market-1501-v15.09.15.zip").mkdir()
    (raw / "Market-1501-v15.09.15.rar").write_bytes(b"x")
    assert unpack_if_missing(raw, "market1501", [raw / MARKET]) is None
    assert unpack_if_missing(raw / "nowhere", "market1501", [raw / "nowhere" / MARKET]) is None
    assert not (raw / "market1501").exists()


def test_unpack_fills_an_empty_folder_and_no_other(raw: Path) -> None:
    folder = raw / "birds"
    folder.mkdir()
    pack(raw / "birds.zip", CONTENTS)
    unpack_if_missing(raw, "folder", [folder])
    assert tree(folder) == CONTENTS
    (folder / "readme.txt").write_bytes(b"mine")
    assert unpack_if_missing(raw, "folder", [folder]) is None
    assert (folder / "readme.txt").read_bytes() == b"mine"


def test_unpack_of_an_archive_inside_its_own_folder_says_where_to_put_it(raw: Path) -> None:
    pack(raw / "birds" / "birds.zip", CONTENTS)
    with pytest.raises(
        UserError, match=r"raw/birds holds only birds\.zip: move it to .*raw, where it will be unpacked"
    ):
        unpack_if_missing(raw, "folder", [raw / "birds"])


def test_unpack_refuses_to_choose(raw: Path) -> None:
    pack(raw / "Market-1501-v15.09.15.zip", CONTENTS)
    pack(raw / "market1501" / "Market-1501-v15.09.15.tar.gz", CONTENTS)
    refused(raw, r"several archives could be market1501: .*\.zip, .*market1501/.*\.tar\.gz: leave one of them there")


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_unpack_leaves_out_what_packing_programs_add(raw: Path, suffix: str) -> None:
    names = ["birds/a.jpg", "birds/.DS_Store", ".DS_Store", "__MACOSX/birds/._a.jpg"]
    pack(raw / f"birds{suffix}", dict.fromkeys(names, b"x"))
    unpack_if_missing(raw, "folder", [raw / "birds"])
    assert tree(raw / "birds") == {"a.jpg": b"x"}


def test_unpack_understands_windows_separators(raw: Path) -> None:
    pack(raw / "birds.zip", {"birds\\cam1\\a.jpg": b"x"})
    unpack_if_missing(raw, "folder", [raw / "birds"])
    assert tree(raw / "birds") == {"cam1/a.jpg": b"x"}


def test_unpack_keeps_empty_folders_and_safe_permissions(raw: Path) -> None:
    with tarfile.open(raw / "birds.tar", "w") as packed:
        packed.addfile(file_member("empty", tarfile.DIRTYPE))
        member = file_member("a.jpg")
        member.mode = 0o6777
        packed.addfile(member)
    unpack_if_missing(raw, "folder", [raw / "birds"])
    assert (raw / "birds" / "empty").is_dir()
    assert (raw / "birds" / "a.jpg").stat().st_mode & 0o7022 == 0  # neither setuid nor writable for others
    assert (raw / "birds").stat().st_mode == raw.stat().st_mode


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    "name", ["/etc/evil", "../evil", "a/../../evil", "C:/evil", "\\\\host\\evil", "a\\..\\..\\evil"]
)
def test_unpack_writes_nothing_outside_the_folder(raw: Path, name: str, suffix: str) -> None:
    """Either the archive is refused, or the member lies inside."""
    archive = raw / f"Market-1501-v15.09.15{suffix}"
    pack_raw(archive, ["good.jpg", name])
    before = sorted(raw.parent.rglob("*"))
    try:
        unpack_if_missing(raw, "market1501", [raw / MARKET])
    except UserError as error:
        assert (
            "\n" not in str(error) and "is unsafe" in str(error) and "the archive is refused, all of it" in str(error)
        )
        assert sorted(raw.parent.rglob("*")) == before
    else:
        new = set(raw.parent.rglob("*")) - set(before)
        assert len(tree(raw / MARKET)) == 2 and all(path.is_relative_to(raw / "market1501") for path in new)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("a" * 300, "at a+: File name too long"),
        ("good.jpg/below", r"at good\.jpg/below: (Not a directory|File exists)"),
    ],
)
def test_unpack_refuses_names_that_no_folder_holds(raw: Path, name: str, match: str, suffix: str) -> None:
    pack_raw(raw / f"Market-1501-v15.09.15{suffix}", ["good.jpg", name])
    refused(raw, rf"cannot be unpacked to .*, {match}")


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../../secret"),
        (tarfile.LNKTYPE, "../../../secret"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_unpack_refuses_links_that_lead_out_and_devices(raw: Path, kind: bytes, link: str) -> None:
    with tarfile.open(raw / "Market-1501-v15.09.15.tar", "w") as packed:
        packed.addfile(file_member("good.jpg"))
        packed.addfile(file_member("evil", kind, link=link))
    refused(raw, r"evil is unsafe \(.*\): the archive is refused, all of it")


def test_unpack_takes_a_link_of_a_zip_for_a_file(raw: Path) -> None:
    member = zipfile.ZipInfo("evil")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(raw / "Market-1501-v15.09.15.zip", "w") as packed:
        packed.writestr(member, "/etc/passwd")
    unpack_if_missing(raw, "market1501", [raw / MARKET])
    assert tree(raw / MARKET) == {"evil": b"/etc/passwd"} and not (raw / MARKET / "evil").is_symlink()


def test_unpack_does_not_write_through_a_link(raw: Path) -> None:
    """A link, then a file below it: the classic way out."""
    with tarfile.open(raw / "Market-1501-v15.09.15.tar", "w") as packed:
        packed.addfile(file_member("out", tarfile.SYMTYPE, link="../../.."))
        packed.addfile(file_member("out/evil", size=1), io.BytesIO(b"x"))
    refused(raw, "out is unsafe")


@pytest.mark.parametrize("suffix", [suffix for suffix in KINDS if suffix != ".tar"])
def test_unpack_refuses_absurd_sizes(raw: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(raw / f"Market-1501-v15.09.15{suffix}", {"a.jpg": bytes(2_000), "b.jpg": bytes(2_000_000)})
    monkeypatch.setattr(extraction, "_ALWAYS_FINE", 100_000)
    refused(raw, r"b\.jpg makes it unpack to more than 9 times its size \(a bomb\?\)", max_ratio=9)
    unpack_if_missing(raw, "market1501", [raw / MARKET], max_ratio=10**6)
    assert len(tree(raw / MARKET)["b.jpg"]) == 2_000_000


def test_unpack_writes_no_more_than_a_zip_declares(raw: Path) -> None:
    """A header that says 10 bytes, of a member that has a million."""
    archive = pack(raw / "Market-1501-v15.09.15.zip", {"a.jpg": bytes(1_000_000)})
    data = archive.read_bytes()
    archive.write_bytes(data.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refused(raw, r"is damaged or not fully downloaded, at a\.jpg \(BadZipFile: Bad CRC-32")


@pytest.mark.parametrize("size", [-512, -1024, -(2**40)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"V"])
def test_unpack_refuses_members_that_lead_back(raw: Path, kind: bytes, size: int) -> None:
    """A negative size that was followed would be read for ever."""
    with tarfile.open(raw / "Market-1501-v15.09.15.tar", "w") as packed:
        packed.addfile(file_member("a.jpg"))
        packed.fileobj.write(file_member("evil", kind, size=size).tobuf(tarfile.GNU_FORMAT))
    refused(raw, r"is damaged or not fully downloaded")


def test_unpack_refuses_what_follows_a_tar_without_end(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "_ALWAYS_FINE", 100_000)
    with tarfile.open(raw / "Market-1501-v15.09.15.tar.gz", "w:gz") as packed:
        packed.addfile(file_member("a.jpg"))
        packed.fileobj.write(bytes(50_000_000))
    refused(raw, r"a\.jpg makes it unpack to more than 100 times its size")


def test_unpack_refuses_encrypted_zips(raw: Path) -> None:
    archive = pack(raw / "Market-1501-v15.09.15.zip", {"a.jpg": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    data[data.index(b"PK\3\4") + 6] |= 1
    archive.write_bytes(data)
    refused(raw, r"a\.jpg is encrypted \(unpack it by hand\)")


def test_unpack_says_what_it_cannot_decompress(raw: Path) -> None:
    archive = pack(raw / "Market-1501-v15.09.15.zip", {"a.jpg": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + 10] = data[data.index(b"PK\3\4") + 8] = 9  # deflate64
    archive.write_bytes(data)
    refused(raw, r"a\.jpg: .*compression.*: unpack it by hand to .*market1501/Market-1501-v15\.09\.15$")


@pytest.mark.parametrize("suffix", KINDS)
def test_unpack_refuses_a_part_of_an_archive(raw: Path, suffix: str) -> None:
    archive = raw / f"Market-1501-v15.09.15{suffix}"
    generator = random.Random(1)
    data = pack(archive, {f"{i}.jpg": generator.randbytes(700) for i in range(9)}).read_bytes()
    ends = [len(data) * share // 10 for share in range(10)] + [512 * blocks for blocks in range(1, 20)]
    for end in ends:  # a tar file has 512 bytes a header and two blocks a file here
        if end < len(data) and data[end : end + 1024].strip(b"\0"):
            archive.write_bytes(data[:end])
            refused(raw, r"is damaged or not fully downloaded, at .* \(.*\): get it again")


@pytest.mark.parametrize("suffix", KINDS)
def test_unpack_of_a_damaged_archive_is_refused_or_whole(raw: Path, suffix: str) -> None:
    """Whatever one changed byte or block does, it is never half unpacked and never a traceback."""
    archive = raw / f"Market-1501-v15.09.15{suffix}"
    contents = {f"{i}.jpg": bytes([i]) * 600 for i in range(5)}
    data = pack(archive, contents).read_bytes()
    generator = random.Random(2)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(generator.choice([1, 1, 3])):
            start = generator.randrange(len(data))
            length = generator.choice([1, 1, 8])
            damaged[start : start + length] = generator.randbytes(length)
        archive.write_bytes(damaged)
        try:
            unpack_if_missing(raw, "market1501", [raw / MARKET])
        except UserError as error:
            assert "\n" not in str(error) and archive.name in str(error)
            assert sorted(path.name for path in raw.rglob("*")) == [archive.name]
        else:
            unpacked = tree(raw / MARKET)
            assert len(unpacked) == len(contents)
            if suffix != ".tar":  # which has no checksum of its contents; names in a zip file have none either
                assert set(unpacked.values()) == set(contents.values())
            shutil.rmtree((raw / MARKET).parent)


@pytest.mark.parametrize(
    ("suffix", "contents"),
    [(".zip", b"<html>404</html>"), (".tar.gz", b"<html>404</html>"), (".zip", b""), (".tar", b"")],
)
def test_unpack_says_when_it_is_no_archive(raw: Path, suffix: str, contents: bytes) -> None:
    (raw / f"Market-1501-v15.09.15{suffix}").write_bytes(contents)
    refused(raw, r"is damaged or not fully downloaded, at its beginning")


@pytest.mark.parametrize("suffix", KINDS)
def test_unpack_says_when_an_archive_is_empty(raw: Path, suffix: str) -> None:
    pack(raw / f"Market-1501-v15.09.15{suffix}", {})
    refused(raw, "is empty")


def fail(number: int) -> Callable[..., None]:
    def progress(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    return progress


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_unpack_says_when_the_disk_is_full(raw: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(raw / f"Market-1501-v15.09.15{suffix}", CONTENTS)
    refused(raw, "the disk is full, the contents of .* do not fit", progress=fail(errno.ENOSPC))
    refused(raw, "cannot be unpacked to .*: Input/output error", progress=fail(errno.EIO))
    monkeypatch.setattr("pipeline.common.disk_space.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    refused(raw, r"0\.0 GB free, the contents of Market-1501-v15\.09\.15\.\w+ need 0\.0 GB")


def test_unpack_leaves_nothing_when_interrupted(raw: Path) -> None:
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    archive = pack(raw / "Market-1501-v15.09.15.zip", CONTENTS)
    with pytest.raises(KeyboardInterrupt):
        unpack_if_missing(raw, "market1501", [raw / MARKET], progress=interrupt)
    assert list(raw.rglob("*")) == [archive]


def test_unpack_notices_another_archive_under_the_same_name(raw: Path) -> None:
    archive, folder = pack(raw / "birds.zip", CONTENTS), raw / "birds"
    unpack_if_missing(raw, "folder", [folder])
    os.utime(archive, (1, 1))
    assert unpack_if_missing(raw, "folder", [folder]) is None  # the same one, with another time
    pack(archive, {"new.jpg": b"new"})
    with pytest.raises(UserError, match=r"birds\.zip is another archive than the one that .*birds was unpacked from"):
        unpack_if_missing(raw, "folder", [folder])
    shutil.rmtree(folder)  # as the line says
    assert unpack_if_missing(raw, "folder", [folder]) == archive and tree(folder) == {"new.jpg": b"new"}
    archive.unlink()
    assert unpack_if_missing(raw, "folder", [folder]) is None
