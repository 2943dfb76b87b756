"""One process fails: all end within seconds, what it said is what is told, and none is left."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 25  # in which all have to be gone: one or two where nothing else runs; torchrun kills what is left after 30
MODULE = ("-m", "tests.training.breaking")


class Place:
    """A folder in which processes run and break."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, *command: str, rank: int, by: str) -> "subprocess.Popen[str]":
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TORCHELASTIC")}
        env = {
            **clean,
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "BREAK_RANK": str(rank),
            "BREAK_BY": by,
            "BROKE_AT": str(self._folder / "broke_at"),
        }
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self._folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def seconds(self) -> float:
        """Since one of them broke."""
        return time.time() - float((self._folder / "broke_at").read_text())

    def running(self) -> list[str]:
        """The commands of all processes of this machine that run here."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == self._folder.resolve():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:  # gone meanwhile, or somebody else's
                continue
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    assert place.running() == []


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("kill", ["error: a training process was ended by SIGKILL (out of memory?)"]),
        ("mistake", ["error: no cluster was found"]),
    ],
)
def test_process_that_breaks_ends_all_and_its_reason_is_all_that_is_told(
    place: Place, rank: int, by: str, told: list[str]
) -> None:
    process = place.start(*MODULE, rank=rank, by=by)
    _, said = process.communicate(timeout=120)
    assert place.seconds() < SECONDS
    assert process.returncode == 1
    assert said.splitlines() == told


def test_defect_of_one_process_keeps_its_traceback_and_no_other_is_shown(place: Place) -> None:
    process = place.start(*MODULE, rank=1, by="defect")
    _, said = process.communicate(timeout=120)
    assert place.seconds() < SECONDS
    assert process.returncode == 1
    assert said.count("Traceback") == said.count("RuntimeError: broken on purpose") == 1, said
    assert "gloo" not in said


def test_machine_that_fails_ends_the_other_one_with_one_line(place: Place) -> None:
    """Two torchruns of one process each, as on two machines that meet at the first; the second one fails."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
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
    agents = [place.start(*command, f"is_host={host}", *MODULE, rank=1, by="mistake") for host in ("true", "false")]
    said = [agent.communicate(timeout=120)[1] for agent in agents]
    assert place.seconds() < SECONDS
    assert [agent.returncode for agent in agents] == [1, 1]
    told = [[line for line in text.splitlines() if line.startswith("error: ")] for text in said]
    assert ["error: no cluster was found"] in told
    (other,) = [lines for lines in told if lines != ["error: no cluster was found"]]
    # Where the one that failed is the one at which they meet, torchrun ends the other at once, in its own words.
    assert all(line.startswith("error: another training process has failed; its own message says") for line in other)
