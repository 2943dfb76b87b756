"""The commands of the Makefile, with a stand-in for uv that prints what it is asked for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "repro": ["run dvc repro"],
    "test": ["run pytest"],
    "test-fast": ["run pytest -m not slow"],
    "check": ["run ruff check .", "run ruff format --check .", "run mypy"],
}


def test_make_alone_says_what_there_is_and_installs_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    alone = ["make", "--no-print-directory"]
    done = subprocess.run(alone, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"repro", "ui", "table", "test", "check"}
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


@pytest.mark.parametrize("target", COMMANDS)
def test_make_runs_the_uv_of_a_folder_whose_name_has_a_space(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "the project"
    (folder / ".tools/bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    uv = folder / ".tools/bin/uv"
    uv.write_text('#!/bin/sh\necho "$@"\necho "$PYTHONPATH" >> called\n')
    uv.chmod(0o755)
    # A path without uv, which make would take in place of its own.
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "sh", "python3"):
        (programs / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is not installed"))
    env = {**os.environ, "PATH": str(programs)}
    done = subprocess.run(["make", "-s", target], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == COMMANDS[target]
    assert set((folder / "called").read_text().splitlines()) == {str(folder / ".tools")}
