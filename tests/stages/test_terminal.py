"""Where a stage writes: a terminal that lacks characters, environment variables of another place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGE = """
import typer, stages
from pipeline.common.errors import UserError

def command(fail: bool = False) -> None:
    print("Füchse 40.4 ± 5.1 ✓")
    if fail:
        raise UserError("data/raw/Füchse ✗ is missing")

stages.run(command)
"""


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"F\\xfcchse"), ("latin-1", "Füchse".encode("latin-1"))])
@pytest.mark.parametrize("fail", [False, True])
def test_stage_writes_any_name_to_a_terminal_that_lacks_characters(
    tmp_path: Path, encoding: str, shown: bytes, fail: bool
) -> None:
    (tmp_path / "stage.py").write_text(STAGE, encoding="utf-8")
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": f"{encoding}:strict",
        "PYTHONUTF8": "0",
        "LC_ALL": "C",
    }
    command = [sys.executable, "stage.py", *(["--fail"] if fail else [])]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == fail, done.stderr
    assert done.stdout.startswith(shown + b" 40.4 ") and done.stdout.endswith(b" \\u2713\n")
    assert done.stderr == (b"error: data/raw/" + shown + b" \\u2717 is missing\n" if fail else b"")
