"""What every stage does beside its work: how it ends by Ctrl-C, by a mistake and on a poor terminal."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def stage(body: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs a stage with this body in a process of its own."""
    code = f"import os, signal, stages\ndef work() -> None:\n{textwrap.indent(body, '    ')}\nstages.run(work)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=300, check=False)


def test_ctrl_c_ends_a_stage_without_a_traceback() -> None:
    done = stage("os.kill(os.getpid(), signal.SIGINT)\nprint('not reached')")
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"interrupted\n")


def test_second_ctrl_c_does_not_disturb_the_end() -> None:
    done = stage("import atexit\natexit.register(os.kill, os.getpid(), signal.SIGINT)\nraise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, b"interrupted\n")


@pytest.mark.parametrize(("users", "expected"), [({}, b"10000\n"), ({"GOMP_SPINCOUNT": "7"}, b"7\n")])
def test_threads_that_wait_leave_the_processor_to_others_unless_the_user_says_otherwise(
    users: dict[str, str], expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert stage("print(os.environ['GOMP_SPINCOUNT'])", **users).stdout == expected


@pytest.mark.parametrize("module", ["import stages", "from pipeline.common import errors; import stages"])
def test_ctrl_c_in_the_imports_of_a_stage_is_no_traceback(module: str) -> None:
    code = f"import os, signal; {module}; os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, b"interrupted\n")


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", b"F\\xfcchse \\u732b\n"), ("latin-1", b"F\xfcchse \\u732b\n")]
)
def test_terminal_without_the_characters_of_a_name_gets_their_numbers(encoding: str, expected: bytes) -> None:
    name = "'F\\xfcchse \\u732b'"
    done = stage(f"print({name})", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")
    done = stage(f"from pipeline.common.errors import UserError\nraise UserError({name})", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"error: " + expected)


def test_password_of_the_environment_is_in_no_line_and_no_traceback() -> None:
    secret = {"MLFLOW_TRACKING_URI": "postgresql://anna:pa55word@db/mlflow"}
    line = stage(
        "from pipeline.common.errors import UserError\nraise UserError('at ' + os.environ['MLFLOW_TRACKING_URI'])",
        **secret,
    )
    assert (line.returncode, line.stderr) == (1, b"error: at postgresql://anna:***@db/mlflow\n")
    trace = stage("raise ValueError('port pa55word')", **secret)
    assert trace.returncode == 1 and b"pa55word" not in trace.stderr and b"ValueError: port ***" in trace.stderr


def test_mistake_of_the_code_keeps_its_traceback() -> None:
    done = stage("raise ValueError('a bug')")
    assert done.returncode == 1 and b"Traceback" in done.stderr and b"ValueError: a bug" in done.stderr
