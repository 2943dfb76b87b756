"""The digest of a file or folder: what it notices, what it does not depend on, and what it remembers."""

import os
import shutil
import time
from pathlib import Path

import pytest

from pipeline.common import contents as module
from pipeline.common.contents import contents, is_record_of, record_contents
from pipeline.common.files import read_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "one/b.jpg", "one/ü \n.jpg", ".hidden/c.jpg"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(name.encode())
    return tmp_path / "data"


@pytest.fixture
def settled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are an hour old, so that their digests are remembered."""
    for path in folder.rglob("*"):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 3600 * 10**9))
    # The time that is looked at cannot be set; this one can.
    monkeypatch.setattr(module, "_size_and_time", lambda status: (status.st_size, status.st_mtime_ns))


def digest(path: Path, memory: Path) -> str:
    found = contents(path, memory=memory)
    assert found is not None
    return found.digest


def test_contents_are_those_of_a_copy_with_other_times(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    found = contents(folder, memory=tmp_path / "memory")
    assert (
        found is not None
        and found.files == 4
        and found.bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    )
    assert contents(tmp_path / "copy", memory=tmp_path / "memory") == found
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "one/.DS_Store").write_bytes(b"x")
    assert contents(folder, memory=tmp_path / "memory") == found


@pytest.mark.parametrize("change", ["content", "name", "removed", "added", "moved", "hidden", "link", "broken link"])
def test_contents_notice(folder: Path, tmp_path: Path, change: str) -> None:
    before = digest(folder, tmp_path / "memory")
    a = folder / "a.jpg"
    if change == "content":
        a.write_bytes(b"x" * a.stat().st_size)  # of the same size
    elif change == "name":
        a.rename(folder / "b.jpg")
    elif change == "removed":
        a.unlink()
    elif change == "added":
        (folder / "empty.jpg").touch()
    elif change == "moved":
        a.rename(folder / "one" / "a.jpg")
    elif change == "hidden":
        (folder / ".hidden/c.jpg").write_bytes(b"x")
    else:
        a.unlink()
        a.symlink_to("one/b.jpg" if change == "link" else "nowhere")
    assert digest(folder, tmp_path / "memory") != before


def test_contents_notice_another_file_of_the_same_size_and_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    time.sleep(0.05)  # more than a step of the clock that files are dated by
    before = digest(folder, tmp_path / "memory")
    a, status = folder / "a.jpg", (folder / "a.jpg").stat()
    a.write_bytes(b"x" * status.st_size)
    os.utime(a, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(folder, tmp_path / "memory") != before


@pytest.mark.usefixtures("settled")
def test_contents_read_a_file_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(folder, tmp_path / "memory")
    (folder / "new.jpg").write_bytes(b"new")
    read: list[str] = []

    def note(path: Path) -> str:
        read.append(path.name)
        return "0" * 32

    monkeypatch.setattr(module, "_digest", note)
    after = digest(folder, tmp_path / "memory")
    assert read == ["new.jpg"] and after != before
    digest(folder, tmp_path / "memory")
    assert read == ["new.jpg"] * 2  # changed a moment ago: its time may not tell the next change


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"a.jpg": 3}', b'{"a.jpg": ["x", 1, 2]}', b"\xff"])
@pytest.mark.usefixtures("settled")
def test_contents_survive_a_damaged_memory(folder: Path, tmp_path: Path, damage: bytes) -> None:
    before = digest(folder, tmp_path / "memory")
    (file,) = (tmp_path / "memory").iterdir()
    file.write_bytes(damage)
    assert digest(folder, tmp_path / "memory") == before


def test_contents_follow_links_and_circles_end(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert contents(linked, memory=tmp_path / "memory") == contents(folder, memory=tmp_path / "memory")
    (folder / "circle").symlink_to(folder)
    (folder / "pipe").unlink(missing_ok=True)
    os.mkfifo(folder / "pipe")
    found = contents(folder, memory=tmp_path / "memory")
    assert found is not None and found.files == 5


def test_contents_of_a_file_and_of_nothing(folder: Path, tmp_path: Path) -> None:
    found = contents(folder / "a.jpg", memory=tmp_path / "memory")
    assert found is not None and (found.files, found.bytes) == (1, 5)
    (tmp_path / "empty").mkdir()
    assert contents(tmp_path / "empty", memory=tmp_path / "memory") is None
    assert contents(tmp_path / "nowhere", memory=tmp_path / "memory") is None


def test_record_stays_where_its_source_is_gone(folder: Path, tmp_path: Path) -> None:
    record, memory = tmp_path / "record.json", tmp_path / "memory"
    record_contents(record, {"dataset": "mine"}, folder, memory=memory)
    written = read_json(record)
    assert written["dataset"] == "mine" and written["files"] == 4 and is_record_of(record, {"dataset": "mine"})
    record_contents(record, {"dataset": "mine"}, tmp_path / "nowhere", memory=memory)
    assert read_json(record) == written
    record_contents(record, {"dataset": "yours"}, tmp_path / "nowhere", memory=memory)
    assert read_json(record) == {"dataset": "yours"}
    record_contents(record, {"dataset": "none"}, None, memory=memory)
    assert read_json(record) == {"dataset": "none"}
