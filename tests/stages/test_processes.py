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
SECONDS = 25  # in which all have to be gone: one or two where nothing else runs; torchrun kills what is left after 30


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Many processes import the same: compiled once, whatever the environment says about that."""
    kept = str(tmp_path_factory.mktemp("compiled"))
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": kept, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def environment(tmp_path: Path, quick: dict[str, str]) -> dict[str, str]:
    """A temporary folder of its own, and the module that breaks a process which BREAK_RANK and BREAK_BY name."""
    for name in ("modules", "temporary"):
        (tmp_path / name).mkdir()
    (tmp_path / "modules" / "sitecustomize.py").write_text(BREAKING)
    return {
        **quick,
        "PYTHONPATH": f"{tmp_path / 'modules'}{os.pathsep}{ROOT}",
        "TMPDIR": str(tmp_path / "temporary"),
        "BROKE_AT": str(tmp_path / "broke_at"),
    }


@pytest.fixture(scope="module")
def in_two(finished: Project, quick: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project, trained in two processes. Read it; do not write into it."""
    project = prepared(finished, tmp_path_factory.mktemp("in_two") / "project")
    project.done("train", **quick)
    return project


@pytest.fixture
def untrained(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """A project that is ready to be trained in two processes; none may be left when the test ends."""
    project = prepared(finished, tmp_path / "untrained")
    yield project
    assert running_in(project.folder) == []


def prepared(finished: Project, folder: Path) -> Project:
    shutil.copytree(finished.folder, folder, symlinks=True)
    shutil.rmtree(folder / "data/model")
    (folder / "reports/training.csv").unlink()
    project = Project(folder)
    project.set(train__processes=2)
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


def test_broken_process_ends_all_and_leaves_nothing_in_the_way(
    untrained: Project, in_two: Project, environment: dict[str, str]
) -> None:
    """The same command right after each of two failures; the last one ends as if there had been none."""
    broke_at = Path(environment["BROKE_AT"])
    before = {path.relative_to(untrained.folder) for path in untrained.folder.rglob("*")}
    for rank, way in (("1", "raise"), ("0", "kill")):
        broken = untrained.run("train", BREAK_RANK=rank, BREAK_BY=way, **environment)
        assert time.time() - float(broke_at.read_text()) < SECONDS
        broke_at.unlink()
        assert running_in(untrained.folder) == []
        assert list(Path(environment["TMPDIR"]).glob("torchelastic*")) == []
        assert broken.returncode == 1, broken.stderr
        if way == "kill":
            assert "error: a training process was ended by SIGKILL (out of memory?)" in broken.stderr.splitlines()
            assert "Traceback" not in broken.stderr, broken.stderr
        else:
            assert broken.stderr.count("Traceback") == 1, broken.stderr
            assert broken.stderr.count("RuntimeError: broken on purpose") == 1, broken.stderr
        after = {path.relative_to(untrained.folder) for path in untrained.folder.rglob("*")}
        assert {path.parts[0] for path in after - before} <= {".scratch", "mlruns"}
    untrained.done("train", **environment)
    assert_same_result(untrained, in_two)


def test_checkpoint_without_room_is_one_line_and_nothing_is_lost(
    untrained: Project, in_two: Project, environment: dict[str, str]
) -> None:
    """A limit on the size of files stands for a disk that fills up while the training runs."""
    full = untrained.run("train", largest_file=3_000_000, **environment)
    assert full.returncode == 1
    (told,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert told.endswith(("checkpoint.pt: File too large", "best.safetensors: File too large")), told
    assert "Traceback" not in full.stderr, full.stderr
    assert list(untrained.folder.glob(".scratch/*/*partial*")) == []
    untrained.done("train", **environment)
    assert_same_result(untrained, in_two)


def on_two_machines(project: Project, environment: dict[str, str]) -> list[tuple[int, str]]:
    """Exit code and messages of two torchruns of one process each, as on two machines; they meet at the first."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes",
        "2",
        "--nproc-per-node",
        "1",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"127.0.0.1:{port}",
        "--local-addr",
        "127.0.0.1",
        "--rdzv-conf",
    ]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC", "TORCHELASTIC"))}
    env = {**clean, "CUDA_VISIBLE_DEVICES": "", **environment}
    agents = [
        subprocess.Popen(
            [*command, f"is_host={host}", "-m", "stages.train"],
            cwd=project.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for host in ("true", "false")
    ]
    told = [agent.communicate(timeout=120)[1] for agent in agents]
    return [(agent.returncode, text) for agent, text in zip(agents, told, strict=True)]


def test_two_machines_give_the_result_of_two_processes(
    untrained: Project, in_two: Project, environment: dict[str, str]
) -> None:
    for code, told in on_two_machines(untrained, environment):
        assert code == 0, told
    assert_same_result(untrained, in_two)
