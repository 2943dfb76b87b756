"""Training in two processes as a person runs it: on one machine or two, and when one of them breaks."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch

from tests.stages.conftest import ROOT, Project

# Found by every Python that has its folder on PYTHONPATH; breaks one process of a training at its second step.
BREAKING = """
import os, signal, sys, time
from pathlib import Path

if "BREAK_BY" in os.environ and os.environ.get("RANK") == os.environ["BREAK_RANK"] and "stages.train" in sys.orig_argv:
    import torch

    step, calls = torch.optim.Adam.step, []

    def break_(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            Path(os.environ["BROKE_AT"]).write_text(str(time.time()))
            if os.environ["BREAK_BY"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("broken on purpose")
        return step(self, *arguments, **options)

    torch.optim.Adam.step = break_
"""
SECONDS = 15  # in which all have to be gone; a second or two, on a machine that does nothing else


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A temporary folder of its own, and the module that breaks a process which BREAK_RANK and BREAK_BY name."""
    for name in ("modules", "temporary"):
        (tmp_path / name).mkdir()
    (tmp_path / "modules" / "sitecustomize.py").write_text(BREAKING)
    return {
        "PYTHONPATH": f"{tmp_path / 'modules'}{os.pathsep}{ROOT}", "TMPDIR": str(tmp_path / "temporary"),
        "BROKE_AT": str(tmp_path / "broke_at"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def in_two(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project, trained in two processes. Read it; do not write into it."""
    return prepared(finished, tmp_path_factory.mktemp("in_two") / "project", trained=True)


@pytest.fixture
def untrained(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """A project that is ready to be trained in two processes; none may be left when the test ends."""
    project = prepared(finished, tmp_path / "untrained", trained=False)
    yield project
    assert running_in(project.folder) == []


def prepared(finished: Project, folder: Path, *, trained: bool) -> Project:
    shutil.copytree(finished.folder, folder, symlinks=True)
    shutil.rmtree(folder / "data/model")
    (folder / "reports/training.csv").unlink()
    project = Project(folder)
    project.set(train__processes=2)
    if trained:
        project.done("train", OMP_NUM_THREADS="1")
    return project


def running_in(folder: Path) -> list[str]:
    """The commands of all processes of this machine that run in `folder`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").readlink() == folder.resolve():
                found.append((place / "cmdline").read_text().replace("\0", " "))
        except OSError:  # gone meanwhile, or somebody else's
            continue
    return found


def result(project: Project) -> tuple[dict[str, Any], pd.DataFrame]:
    """The weights and the history of a training."""
    table = pd.read_csv(project.folder / "reports/training.csv")
    clocks = [name for name in table.columns if name.startswith("seconds") or name == "images_per_second"]
    return safetensors.torch.load_file(project.folder / "data/model/model.safetensors"), table.drop(columns=clocks)


def assert_same_result(first: Project, second: Project) -> None:
    (one, history), (other, other_history) = result(first), result(second)
    assert one.keys() == other.keys()
    assert [key for key in one if not one[key].equal(other[key])] == []
    pd.testing.assert_frame_equal(history, other_history, check_exact=True)


def errors(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith("error: ")]


def test_broken_process_ends_all_and_leaves_nothing_in_the_way(
    untrained: Project, in_two: Project, environment: dict[str, str]
) -> None:
    """The same command right after each of three failures; the last one ends as if there had been none."""
    broke_at = Path(environment["BROKE_AT"])
    before = {path.relative_to(untrained.folder) for path in untrained.folder.rglob("*")}
    for rank, way in (("1", "raise"), ("1", "kill"), ("0", "kill")):
        broken = untrained.run("train", BREAK_RANK=rank, BREAK_BY=way, **environment)
        assert time.time() - float(broke_at.read_text()) < SECONDS
        broke_at.unlink()
        assert running_in(untrained.folder) == []
        assert list(Path(environment["TMPDIR"]).iterdir()) == []
        assert broken.returncode == 1, broken.stderr
        if way == "kill":
            assert errors(broken.stderr) == ["error: a training process was ended by SIGKILL (out of memory?)"]
            assert "Traceback" not in broken.stderr, broken.stderr
        else:
            assert broken.stderr.count("Traceback") == 1, broken.stderr
            assert broken.stderr.count("RuntimeError: broken on purpose") == 1, broken.stderr
            assert errors(broken.stderr) == [], broken.stderr
        after = {path.relative_to(untrained.folder) for path in untrained.folder.rglob("*")}
        assert {path.parts[0] for path in after - before} <= {".scratch", "mlruns"}
    untrained.done("train", **environment)
    assert_same_result(untrained, in_two)


def test_mistake_that_only_the_first_process_sees_is_told_once(untrained: Project, environment: dict[str, str]) -> None:
    untrained.set(clustering__eps=0.001)  # the other one waits for the clusters
    refused = untrained.run("train", **environment)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    (line,) = errors(refused.stderr)
    assert "cluster" in line and "another training process" not in line


def on_two_machines(project: Project, environment: dict[str, str]) -> list[tuple[int, str]]:
    """Exit code and messages of two torchruns of one process each that meet at a port, as on two machines."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend",
        "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1", "-m", "stages.train",
    ]  # fmt: skip
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
    agents = [
        subprocess.Popen(
            command, cwd=project.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [agent.communicate(timeout=120)[1] for agent in agents]
    return [(agent.returncode, text) for agent, text in zip(agents, told, strict=True)]


def test_two_machines_give_the_result_of_two_processes(
    untrained: Project, in_two: Project, environment: dict[str, str]
) -> None:
    for code, told in on_two_machines(untrained, environment):
        assert code == 0, told
    assert_same_result(untrained, in_two)


def test_machine_that_fails_ends_the_other_one(untrained: Project, environment: dict[str, str]) -> None:
    broken = {**environment, "BREAK_RANK": "1", "BREAK_BY": "raise"}
    (code, told), (other_code, other_told) = on_two_machines(untrained, broken)
    assert time.time() - float(Path(environment["BROKE_AT"]).read_text()) < SECONDS
    assert code != 0 and other_code != 0
    failed, ended = (told, other_told) if "broken on purpose" in told else (other_told, told)
    assert "RuntimeError: broken on purpose" in failed
    assert errors(ended)[0].startswith("error: another training process has failed")
