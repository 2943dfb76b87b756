"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.common.locks import locked

HOLD = """
import sys
from pathlib import Path
from pipeline.common.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_that_another_process_holds_is_told_and_is_free_when_that_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="somebody is here"), locked(path, taken="somebody is here"):
            pass
        other.kill()
        other.wait()
        with locked(path, taken="somebody is here"):
            assert path.is_file()


def test_lock_can_be_taken_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        raise ZeroDivisionError
    with locked(tmp_path / "lock", taken="never told"):
        pass
