"""Settings that differ from the last commit."""

import subprocess
from pathlib import Path

import pytest

from pipeline.config.uncommitted import uncommitted_line


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A committed params.yaml in a folder of a repository."""
    folder = tmp_path / "a project"
    folder.mkdir()
    path = folder / "params.yaml"
    path.write_text("seed: 1\nimage: {height: 64, width: 32}\nold: true\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "settings")
    return path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words], cwd=folder, check=True)


@pytest.mark.parametrize("staged", [False, True])
def test_settings_that_differ_from_the_last_commit_are_told(params: Path, staged: bool) -> None:
    assert uncommitted_line(params) is None
    params.write_text("seed: 2   # with a comment\nimage: {height: 64, width: 48}\nnew: [1]\n")
    if staged:  # as a killed `dvc exp run` leaves it
        git(params.parent, "add", "-A")
    assert uncommitted_line(params) == (
        "settings that differ from the last commit: seed=2 (was 1), image.width=48 (was 32), new=[1] (was nothing), "
        "old=nothing (was True)"
    )
    git(params.parent, "restore", "--staged", "--worktree", "params.yaml")  # docs/reliability.md
    assert uncommitted_line(params) is None


@pytest.mark.parametrize("committed", ["", "[", "\udc80"])
def test_what_was_no_settings_then_is_not_compared(params: Path, committed: str) -> None:
    now = params.read_bytes()
    params.write_text(committed, errors="surrogateescape")
    git(params.parent, "commit", "-qam", "broken")
    params.write_bytes(now)
    assert uncommitted_line(params) is None


def test_without_git_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert uncommitted_line(tmp_path / "params.yaml") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert uncommitted_line(tmp_path / "params.yaml") is None
