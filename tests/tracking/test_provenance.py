"""Which code a run says that it was made by."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tracking import provenance as module
from pipeline.tracking.provenance import provenance
from pipeline.tracking.provenance import revision as told

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
SOURCE = Path(module.__file__)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a repository around the folder of the test."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path, text: str = "a: 1") -> str:
    """A repository with one commit; returns its revision."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def test_provenance_is_the_revision_and_whether_it_was_changed(tmp_path: Path) -> None:
    revision = repository(tmp_path / "code")
    assert provenance(tmp_path / "code") == {"mlflow.source.git.commit": revision, "git.dirty": "false"}
    (tmp_path / "code" / "mlflow.db").write_text("git does not know it")
    assert provenance(tmp_path / "code")["git.dirty"] == "false"
    (tmp_path / "code" / "params.yaml").write_text("a: 2")
    assert provenance(tmp_path / "code") == {"mlflow.source.git.commit": revision, "git.dirty": "true"}


def test_results_that_a_run_writes_are_no_change_of_the_code(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    results = [tmp_path / "dvc.lock", tmp_path / "reports/summary.json"]
    for path in results:
        path.write_text("of the last run")
    revision = repository(tmp_path)
    for path in results:
        path.write_text("of this run")
    assert told(tmp_path) == revision[:10]
    (tmp_path / "params.yaml").write_text("a: 2")
    assert told(tmp_path) == f"{revision[:10]} with uncommitted changes"


def test_provenance_is_that_of_the_code_that_runs_and_not_of_the_checkout(tmp_path: Path) -> None:
    """As under `dvc exp run --queue`: the code is a copy, and the user's checkout has moved on."""
    copy, checkout = tmp_path / "copy", tmp_path / "checkout"
    for file in ("pipeline/__init__.py", "pipeline/tracking/provenance.py"):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE.parents[2] / file, copy / file)
    (copy / "pipeline/tracking/__init__.py").write_text("")
    revision = repository(copy)
    assert repository(checkout, "a: 2") != revision
    code = "from pipeline.tracking.provenance import provenance as p; print(p()['mlflow.source.git.commit'])"
    environment = {**os.environ, "PYTHONPATH": str(copy), "DVC_ROOT": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == revision


def test_provenance_without_a_revision_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance(tmp_path) == {"git.revision": "unknown: the code does not lie in a git repository"}
    assert told(tmp_path) == "unknown: the code does not lie in a git repository"
    git(tmp_path, "init", "--quiet")
    assert provenance(tmp_path) == {"git.revision": "unknown: git knows no revision of the code"}
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    reason = "git does not trust the owner of the folder (git config --global safe.directory)"
    assert provenance(tmp_path) == {"git.revision": f"unknown: {reason}"}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(tmp_path) == {"git.revision": "unknown: git is not installed"}
