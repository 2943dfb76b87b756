"""Files and folders that appear whole or not at all."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, replacing, result_of_a_stage, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, **contents: str) -> None:
    folder.mkdir(parents=True)
    for name, text in contents.items():
        (folder / name).write_text(text)


def test_replacing_leaves_the_old_file_until_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        # In the same folder: on another disk, it could not take the place in one step.
        assert temporary.parent == path.parent and temporary.name.startswith(".")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_replacing_makes_the_folders_above(tmp_path: Path) -> None:
    with replacing(tmp_path / "a" / "b" / "c.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "new"


@pytest.mark.parametrize("before", [None, "old"])
def test_replacing_that_fails_leaves_the_file_as_it_was(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert (path.read_text() if path.exists() else None) == before
    assert names(tmp_path) == ([] if before is None else ["a.txt"])


def test_replacing_names_the_file_for_which_there_is_no_room(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("old")
    with (
        pytest.raises(OSError, match="No space left") as caught,
        replacing(tmp_path / "kept.txt") as temporary,
        Path("/dev/full").open("w") as full,
    ):
        temporary.write_text("new")
        full.write("a disk that is full")
        full.flush()
    assert caught.value.filename == str(tmp_path / "kept.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "old"


def test_replacing_a_folder_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    fill(folder, a="old", b="old")
    with replacing(folder) as temporary:
        fill(temporary, b="new")
        (temporary / "deeper").mkdir()
        assert names(folder) == ["a", "b"]
    assert names(folder) == ["b", "deeper"] and (folder / "b").read_text() == "new"
    assert names(tmp_path) == ["figures"]


def test_replacing_makes_a_folder_that_was_not_there(tmp_path: Path) -> None:
    with replacing(tmp_path / "figures") as temporary:
        fill(temporary, a="new")
    assert names(tmp_path / "figures") == ["a"]


def test_replacing_a_folder_that_fails_leaves_it_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    fill(folder, a="old")
    with pytest.raises(RuntimeError, match="no"), replacing(folder) as temporary:
        fill(temporary, b="half")
        raise RuntimeError("no")
    assert names(folder) == ["a"] and names(tmp_path) == ["figures"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_replacing_clears_what_a_killed_process_of_the_same_number_left(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    with replacing(path) as temporary:
        left = temporary.name
        temporary.write_text("1")
    if kind == "file":
        (tmp_path / left).write_text("half")
    else:
        fill(tmp_path / left, x="half")
    with replacing(path) as temporary:
        assert not temporary.exists()
        temporary.write_text("2")
    assert path.read_text() == "2" and names(tmp_path) == ["a"]


def test_replacing_uses_a_name_of_its_own_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replacing(tmp_path / "a") as first:
        first.write_text("1")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with replacing(tmp_path / "a") as second:
            assert first != second
            second.write_text("2")
        assert (tmp_path / "a").read_text() == "2"
    assert (tmp_path / "a").read_text() == "1"


def test_replacing_removes_a_link_to_a_folder_and_not_what_is_in_it(tmp_path: Path) -> None:
    fill(tmp_path / "real", a="old")
    with pytest.raises(RuntimeError, match="no"), replacing(tmp_path / "b") as temporary:
        temporary.symlink_to(tmp_path / "real")
        raise RuntimeError("no")
    assert names(tmp_path / "real") == ["a"]


def test_replacing_by_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileNotFoundError, match="partial"), replacing(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_text() == "old"


def test_write_text_is_utf8_and_readable_as_other_files_are(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "σ = ½")
    (tmp_path / "b.txt").write_text("")
    assert (tmp_path / "a.txt").read_bytes() == "σ = ½".encode()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_json_reads_back_as_it_was_written(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_json_is_written_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "größe"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "größe"\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, -float("inf")]])
def test_json_has_no_number_that_other_readers_refuse(tmp_path: Path, value: Any) -> None:
    (tmp_path / "a.json").write_text("1")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == 1


def test_json_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reports/metrics\.json is missing: run `dvc repro` first"):
        read_json(tmp_path / "reports" / "metrics.json")


@pytest.mark.parametrize("content", [b"", b'{"run_id": "0', b"\xff\xfe\x00"])
def test_json_that_is_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json is damaged, it holds no JSON: delete it") as caught:
        read_json(tmp_path / "run.json")
    assert "\n" not in str(caught.value)


def test_result_of_a_stage_is_its_path(tmp_path: Path) -> None:
    (tmp_path / "cmc.csv").write_text(json.dumps(1))
    assert result_of_a_stage(tmp_path / "cmc.csv") == tmp_path / "cmc.csv"
    assert result_of_a_stage(tmp_path) == tmp_path
    with pytest.raises(UserError, match=r"other\.csv is missing: run `dvc repro` first"):
        result_of_a_stage(tmp_path / "other.csv")


def test_what_a_killed_process_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host, other = platform.node(), f"{platform.node()}.elsewhere"
    for name in (f".out.{host}.{ended.pid}.partial", f".out.{host}.{ended.pid}.old", f".out.{ended.pid}.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.npy").write_bytes(b"half")
    kept = [
        f".out.{host}.{os.getppid()}.partial",
        f".out.{other}.{ended.pid}.partial",
        ".out.partial",
        ".outer.1.partial",
    ]
    for name in (*kept, f".out.{other}.1.partial"):
        (tmp_path / name).write_bytes(b"of somebody else")
    os.utime(tmp_path / f".out.{other}.1.partial", (1, 1))
    write_text(tmp_path / "out", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "out"])
