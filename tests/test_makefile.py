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
    "docs": ["run --only-group docs mkdocs build --strict --quiet", "open site/index.html"],
    "check": ["run ruff check .", "run ruff format --check .", "run mypy"],
}


def test_make_alone_says_what_there_is_and_installs_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    alone = ["make", "--no-print-directory"]
    done = subprocess.run(alone, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    told = {line.split()[1] for line in done.stdout.splitlines()}
    assert told == {"repro", "ui", "table", "shell", "test", "check", "docs"}
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


@pytest.fixture
def without_uv(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder whose name has a space, with its own uv alone, and an environment that has none."""
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
    return folder, {**os.environ, "PATH": str(programs)}


def made(target: str, folder: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        ["make", "-s", target], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("target", COMMANDS)
def test_make_runs_the_uv_of_a_folder_whose_name_has_a_space(
    without_uv: tuple[Path, dict[str, str]], target: str
) -> None:
    folder, environment = without_uv
    hint = ["uv is in .tools/, not on your PATH: make shell opens a shell in which uv run ... works"]
    assert made(target, folder, environment) == COMMANDS[target] + hint * (target == "repro")
    assert set((folder / "called").read_text().splitlines()) == {str(folder / ".tools")}


def test_make_shell_finds_the_uv_that_make_has_put_there(without_uv: tuple[Path, dict[str, str]]) -> None:
    folder, environment = without_uv
    shell = folder.parent / "programs" / "my shell"
    shell.write_text("#!/bin/sh\nuv run dvc repro\necho $UV_CACHE_DIR\n")
    shell.chmod(0o755)
    told = made("shell", folder, {**environment, "SHELL": str(shell)})
    assert told[1:] == ["run dvc repro", str(folder / ".tools/cache")]
