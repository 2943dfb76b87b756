"""The CUDA path without a GPU: whole trainings, what a step asks for, and what cannot be used is one line."""

import json
from pathlib import Path

import pytest

from tests.cuda.conftest import run_python
from tests.training.stuck import MESSAGES, run_stuck

# Of one step of the Market-1501 recipe: 256 images of 256 x 128 in four groups, ResNet-50, student and teacher.
# Convolutions, which the stub leaves out, are not among the launches. With CUDA graphs, as steps are on a GPU, a graph
# is one of them.
LAUNCHES = {"bf16": 2820, "tf32": 1740}
LAUNCHES_RECORDED = {"dynamic": 195, "instance": 405}
OF_PROXIES = 110  # more launches with camera proxies
SYNCHRONISATIONS = 0
COPIES_TO_DEVICE, COPIES_ON_DEVICE = 3, 4
PEAK_GIB = {"bf16": 9.0, "tf32": 16.6}


def step(precision: str, update: str, environment: dict[str, str]) -> dict[str, float]:
    done = run_python("-m", "tests.cuda.count_step", precision, update, environment=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("precision", "update"),
    [("bf16", "dynamic"), ("bf16", "dynamic+proxies"), ("tf32", "dynamic"), ("bf16", "instance")],
)
def test_step_asks_a_gpu_for_little_and_waits_for_nothing(stub: dict[str, str], precision: str, update: str) -> None:
    found = step(precision, update, stub)
    proxies = "proxies" in update
    assert found["launches"] <= LAUNCHES[precision] + OF_PROXIES * proxies, found
    assert found["launches_recorded"] <= LAUNCHES_RECORDED[update.split("+")[0]] + OF_PROXIES * proxies, found
    assert found["synchronisations"] <= SYNCHRONISATIONS, found
    assert (
        found["to_device"] <= COPIES_TO_DEVICE + 2 * proxies and found["on_device"] <= COPIES_ON_DEVICE + 4 * proxies
    ), found
    assert found["to_host"] <= 1 and found["event_waits"] <= 1, found  # the losses of the step before
    assert found["peak_gib"] <= PEAK_GIB[precision], found


def test_card_without_memory_is_one_line(stub: dict[str, str]) -> None:
    done = run_python("-m", "tests.cuda.count_step", "bf16", "dynamic", environment={**stub, "STUB_GIB": "4"})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: CUDA out of memory; Tried to allocate") and "; GPU 0 has a total capacity of" in line
    assert line.endswith(
        "take more processes (train.processes, one per GPU), train.precision=bf16, or a smaller sampler.batch, "
        "which changes the result"
    )


@pytest.mark.parametrize("method", ["dccc", "dccc_cam", "cluster_contrast", "spcl"])
def test_training_is_interrupted_resumed_and_scored(stub: dict[str, str], method: str) -> None:
    precisions = ("fp32", "tf32", "bf16", "fp16")
    done = run_python("-m", "tests.cuda.train", method, *precisions, environment=stub)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("trained")]
    assert told == [f"trained {method} {precision}" for precision in precisions]
    assert done.stdout.count("going on in epoch") == len(precisions)
    for precision in precisions:
        assert done.stdout.count(f"training on Stub, {precision}\n") == 2
    assert "clustering.neighbours: on a GPU the exact search is the faster one, and is taken\n" in done.stdout


@pytest.mark.parametrize("way", ["raise", "kill"])
def test_process_of_another_card_ends_soon_after_one_has_failed(stub: dict[str, str], tmp_path: Path, way: str) -> None:
    done, seconds = run_stuck(tmp_path, way, {**stub, "STUB_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "0,1"})
    assert done.returncode == 1 and MESSAGES[way] in done.stderr.splitlines(), done.stderr
    assert seconds < 15, done.stderr  # SIGTERM is followed by SIGKILL after 30 s
    assert {"on cuda:0", "on cuda:1"} <= set(done.stdout.splitlines()), done.stdout


def chosen(environment: dict[str, str], call: str = "choose_device()") -> tuple[int, str, str]:
    code = (
        "from pipeline.common.ending import one_line_errors\n"
        "from pipeline.common.device import _driver_cuda, choose_device\n"
        "from pipeline.training.distributed import default_processes\n"
        f"with one_line_errors(): print({call})"
    )
    done = run_python("-W", "error", "-c", code, environment=environment)
    return done.returncode, done.stdout, done.stderr


def test_cards_are_chosen(stub: dict[str, str]) -> None:
    assert chosen({**stub, "STUB_DEVICES": "4"}, "choose_device(3)") == (0, "cuda:3\n", "")
    assert chosen({**stub, "STUB_DEVICES": "4"}, "default_processes(4)") == (0, "4\n", "")


def test_card_that_is_too_old_is_one_line(stub: dict[str, str]) -> None:
    code, _, errors = chosen({**stub, "STUB_CC": "70"})
    assert code == 1 and errors.startswith("error: GPU 0, Stub (sm_70), is none that this PyTorch was built for (sm_75")
    assert errors.count("\n") == 1


def test_driver_says_which_cuda_it_runs(old_driver: dict[str, str]) -> None:
    assert chosen(old_driver, "_driver_cuda()") == (0, "12040\n", "")


@pytest.mark.parametrize("call", ["choose_device()", "default_processes(4)"])
def test_driver_that_is_too_old_is_one_line(old_driver: dict[str, str], call: str) -> None:
    code, _, errors = chosen(old_driver, call)
    assert code == 1 and errors.count("\n") == 1
    assert errors.startswith("error: this machine has 4 NVIDIA GPUs, whose driver is too old for this PyTorch (CUDA 13")
    assert "driver 580 or newer" in errors
    assert chosen({**old_driver, "CUDA_VISIBLE_DEVICES": ""}, call) == (0, {"c": "cpu\n", "d": "1\n"}[call[0]], "")


def test_stage_on_a_machine_with_an_old_driver_ends_before_anything_long(
    old_driver: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    done = run_python("-m", "stages.train", environment=old_driver, folder=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: this machine has 4 NVIDIA GPUs"), done.stderr
    assert done.stderr.count("\n") == 1
