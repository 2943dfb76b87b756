"""What the tests of docs/team.md share: its commands, and the servers that they are run against."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.stages.conftest import ROOT, finished, people  # noqa: F401 - fixtures
from tests.team.services import PROGRAMS, Store, object_store


def block(title: str) -> list[list[str]]:
    """The words of every command in the shell blocks below a heading of docs/team.md."""
    text = (ROOT / "docs/team.md").read_text(encoding="utf-8").split(f"# {title}\n")[1].split("\n#")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@dataclass
class Checkout:
    """A person's clone.

    Attributes:
        folder: it lies in.
        stands_for: what the placeholders of the documentation stand for here.
        environment: added to that of the commands.
    """

    folder: Path
    stands_for: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of the documentation, placeholders replaced; `uv run` stands for the environment of the tests."""
        for placeholder, here in self.stands_for.items():
            words = [word.replace(placeholder, here) for word in words]
        words = words[2:] if words[:2] == ["uv", "run"] else words
        foreign = ("MLFLOW", "DVC", "TORCHELASTIC", "GIT_", "AWS", "SLURM")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        env = {
            **clean,
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self.folder.parent),
            "DVC_NO_ANALYTICS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CUDA_VISIBLE_DEVICES": "",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **{
                f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "Anna"), ("EMAIL", "anna@example.org"))
            },
            **self.environment,
            **environment,
        }
        return subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True, timeout=300, check=False)

    def run(self, *words: str) -> str:
        """As `start`, for a command that must end well; what it printed."""
        done = self.start(list(words))
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def copy_of_the_project(folder: Path) -> None:
    """What git has or would take of this project, without the tests."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    pytest.importorskip("moto", reason="moto is not installed (docs/team.md: Installing)")
    with object_store(tmp_path_factory.mktemp("store")) as store:
        yield store
