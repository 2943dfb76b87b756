"""A small project folder with a data set in the Market-1501 layout, in which stages run as a person runs them."""

import contextlib
import importlib
import io
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import stages
from pipeline.preparation.synthetic import write_synthetic
from tests.params_file import change_params

ROOT = Path(__file__).parents[2]
# Settings that make a training of seconds, given as a person gives them: one by one, on top of the recipe.
SMALL: dict[str, Any] = {
    "dataset": "market1501",
    "backbone": "resnet10_w32",
    "pretrained": "none",
    "epochs": 2,
    "image.height": 32,
    "image.width": 16,
    "augment.pad": 2,
    "sampler.batch": 16,
    "sampler.instances": 4,
    "model.bn_group": 8,
    "clustering.eps": 0.6,
    "clustering.k1": 8,
    "clustering.k2": 3,
    "clustering.min_samples": 2,
    "train.iters": 2,
    "train.eval_step": 1,
}


@dataclass
class Project:
    """A folder with params.yaml and data/raw/, and how to run a stage in it."""

    folder: Path

    def set(self, **values: Any) -> None:
        """Changes params.yaml: `clustering__eps=0.6` is `-S clustering.eps=0.6`."""
        change_params(self.folder / "params.yaml", values)

    def run(
        self, stage: str, *arguments: str, largest_file: int | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`python -m stages.<stage>` in the folder, with the code of this project, and files of so many bytes."""
        limit = ["prlimit", f"--fsize={largest_file}"] if largest_file else []
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC", "TORCHELASTIC"))}
        env = {**clean, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment}
        return subprocess.run(
            [*limit, sys.executable, "-m", f"stages.{stage}", *arguments],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def done(self, stage: str, *arguments: str, **environment: str) -> str:
        """As `run`, for a stage that must end well; what it printed."""
        result = self.run(stage, *arguments, **environment)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Traceback" not in result.stderr and "Warning" not in result.stderr, result.stderr
        return result.stdout

    def here(self, stage: str, *arguments: str, **environment: str) -> str:
        """As `done`, in this process, which saves the seconds of the imports; all that was printed."""
        told = io.StringIO()
        with (
            self._as_a_stage(stage, arguments, environment) as command,
            contextlib.redirect_stderr(told),
            contextlib.redirect_stdout(told),
            pytest.raises(SystemExit) as stopped,
        ):
            stages.run(command)
        assert not stopped.value.code, told.getvalue()
        return told.getvalue()

    def refused(self, stage: str, *arguments: str, **environment: str) -> str:
        """Runs a stage in this process, which must stop with one line and exit code 1; returns the line."""
        errors = io.StringIO()
        with (
            self._as_a_stage(stage, arguments, environment) as command,
            contextlib.redirect_stderr(errors),
            pytest.raises(SystemExit) as stopped,
        ):
            stages.run(command)
        lines = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
        assert stopped.value.code == 1 and len(lines) == 1, errors.getvalue()
        return lines[0]

    @contextlib.contextmanager
    def _as_a_stage(
        self, stage: str, arguments: tuple[str, ...], environment: dict[str, str]
    ) -> Iterator[Callable[..., None]]:
        """Folder, arguments and environment of a stage, for this process; `train` is one process of torchrun's."""
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's modules, as for a person at the command line
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", [stage, *arguments])
            patch.setenv("TORCHELASTIC_RUN_ID", "test")
            # Not for the process that runs the tests: it must not end with whatever started it.
            for module in ("stages", "pipeline.training.distributed.joining"):
                patch.setattr(f"{module}.end_with_parent", lambda *_: None)
            for name, value in environment.items():
                patch.setenv(name, value)
            yield getattr(importlib.import_module(f"stages.{stage}"), stage)


def small_project(folder: Path, raw: Path, database: Path) -> Project:
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", folder)
    change_params(folder / "params.yaml", SMALL)
    place = folder / "data" / "raw" / "market1501"
    place.mkdir(parents=True)
    (place / "Market-1501-v15.09.15").symlink_to(raw, target_is_directory=True)
    shutil.copy(database, folder / "mlflow.db")
    return Project(folder)


@pytest.fixture(scope="session")
def people(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A small data set in the Market-1501 layout."""

    def make(folder: Path) -> None:
        write_synthetic(
            folder / "people",
            seed=3,
            train_identities=10,
            test_identities=6,
            cameras=3,
            images_per_camera=4,
            distractors=4,
            junk=2,
            height=32,
            width=16,
            camera_strength=0.3,
            workers=1,
        )

    return made_once("raw", make) / "people"


@pytest.fixture(scope="session")
def finished(made_once: Callable[[str, Callable[[Path], None]], Path], people: Path, mlflow_database: Path) -> Project:
    """A project in which the first four stages have run. Read it; do not write into it."""

    def make(folder: Path) -> None:
        project = small_project(folder / "finished", people, mlflow_database)
        for stage in ("sources", "prepare", "pretrained", "train", "evaluate"):
            project.done(stage)

    return Project(made_once("project", make) / "finished")


@pytest.fixture
def new_project(tmp_path: Path, people: Path, mlflow_database: Path) -> Callable[[], Project]:
    """Makes an untouched project."""
    return lambda: small_project(tmp_path / "project", people, mlflow_database)


@pytest.fixture
def copied(tmp_path: Path, finished: Project) -> Project:
    """A copy of the finished project, to change and to break."""
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")
