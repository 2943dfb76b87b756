"""A new method is one file and one line: `toy.py` trains, resumes and agrees on processes in the real trainer."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.schema import TrainingSettings
from pipeline.methods import METHODS
from pipeline.model import build
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.training.distributed import Processes
from pipeline.training.trainer import Trainer
from tests.methods.toy import Toy, register
from tests.training.conftest import crowd  # noqa: F401 - a fixture
from tests.training.gloo import in_processes
from tests.training.small import change, small_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each test alone: other tests count the methods that there are."""
    monkeypatch.setitem(METHODS, "toy", Toy)


def trainer_of(crowd: Any, settings: TrainingSettings, processes: Processes | None = None) -> Trainer:  # noqa: F811
    torch.manual_seed(1)
    student = build("resnet10_w32", bn_group=8)
    return Trainer(
        student,
        None,
        images=crowd.images,
        cameras=crowd.cameras,
        settings=settings,
        processes=processes,
        shown=False,
    )


def toy_settings() -> TrainingSettings:
    return change(small_settings(method="toy"), sampler__instances=8, epochs=3)


def trained(processes: Processes, crowd: Any) -> tuple[list[Any], dict[str, torch.Tensor]]:  # noqa: F811
    register()  # in a process of its own
    trainer = trainer_of(crowd, toy_settings(), processes)
    results = list(trainer.run())
    return [(r.loss, r.labels.tolist()) for r in results], trainer.student.state_dict()


def test_new_method_trains_and_resumes_bit_for_bit(crowd: Any, tmp_path: Path) -> None:  # noqa: F811
    whole, half, resumed = (trainer_of(crowd, toy_settings()) for _ in range(3))
    assert isinstance(whole.method, Toy)
    expected = list(whole.run())
    assert expected[0].num_clusters == 3 and set(expected[0].seconds) == {"extract", "grid", "train"}

    def keep() -> None:
        if half.step == 4:  # within the second epoch
            save_checkpoint(tmp_path / "checkpoint.pt", half.state_dict())

    list(half.run(keep))
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    assert [r.loss for r in resumed.run()] == [r.loss for r in expected[1:]]
    end = whole.student.state_dict()
    assert all(torch.equal(value, end[key]) for key, value in resumed.student.state_dict().items())
    assert isinstance(resumed.method, Toy) and resumed.method.epochs_begun == 3


def test_new_method_is_the_same_on_two_processes(crowd: Any, tmp_path: Path) -> None:  # noqa: F811
    one, weights = trained(Processes(), crowd)
    for several, others in in_processes(trained, 2, tmp_path, crowd):
        assert several == one
        assert all(torch.equal(value, others[key]) for key, value in weights.items())


def test_new_method_is_known_to_the_settings_by_its_line_in_the_registry(tmp_path: Path) -> None:
    code = """
import stages, tests.methods.toy
tests.methods.toy.register()
from tests.params_file import change_params
from pathlib import Path
change_params(Path("params.yaml"), {"method": "toy", "methods": {"toy": {"cells": 5}}})
settings = stages.settings()
print(settings.method, settings.methods["toy"].cells, settings.memory.update, settings.has_teacher)
"""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["toy", "5", "mean", "False"]


def test_methods_are_told_apart_in_their_files_alone() -> None:
    """No flag of a method and no question for the kind of a memory anywhere else."""
    methods = ROOT / "pipeline" / "methods"
    for path in (ROOT / "pipeline").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if not path.is_relative_to(methods):
            assert "isinstance(memory" not in text and "HybridMemory)" not in text, path
            if path.parent.name != "config":
                assert '"hybrid"' not in text, path
