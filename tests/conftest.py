"""What all tests share."""

import fcntl
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

# Two test processes, or a training beside the tests, must not wait for each other's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test that imports mlflow before pipeline.tracking does must not report to anybody either.
for _name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_name, "true")


# Behind `nohup` or `&` Ctrl-C is ignored, and so in all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _hide_unusable_gpus() -> None:
    """Runs the tests on the CPU where the driver of the GPUs is too old."""
    from pipeline.common.device import num_gpus  # here: torch reads what is set above when it is imported
    from pipeline.common.errors import UserError

    try:
        num_gpus()
    except UserError:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


_hide_unusable_gpus()
TESTS = Path(__file__).parent
# Folders and files that `make test-fast` leaves out: whole stages, other programs (browser, servers, compilers), ONNX,
# MLflow and timm, mutated files, a clone of the project, interruption.
SLOW = (
    "stages",
    "team",
    "cuda",
    "fuzz",
    "browse/test_in_browser.py",
    "inference",
    "tracking",
    "test_readme.py",
    "test_browser.py",
    "test_site.py",
    "test_extending.py",
    "common/test_kernels.py",
    "methods/test_a_new_method.py",
    "model/test_class_token.py",
    "model/test_drop_path.py",
    "model/test_fetch.py",
    "model/test_ics.py",
    "model/test_published_files.py",
    "model/test_timm_backbones.py",
    "model/test_timm_hub.py",
    "model/test_timm_weights.py",
    "report/test_in_browser.py",
    "report/test_study_page.py",
    "training/test_frozen.py",
    "training/test_methods.py",
    "training/test_interruption.py",
    "training/test_failures.py",
    "training/test_host_name.py",
    "training/test_processes_agree.py",
)
# Files that take minutes.
LONG = (
    "test_stages.py",
    "test_readme.py",
    "test_server.py",
    "test_slurm.py",
    "test_study.py",
    "test_methods.py",
    "test_processes.py",
    "test_remote.py",
    "test_interruption.py",
    "test_failures.py",
)


def is_slow(path: Path) -> bool:
    return any(path.is_relative_to(TESTS / place) for place in SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make test-fast` does not even import what it leaves out."""
    return True if config.option.markexpr == "not slow" and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is slow; the files that take minutes come first, lest a process be left alone with one at the end."""
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`made_once(name, make)`: the folder that `make` filled, in the first of the test processes that asked for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                made.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def mlflow_database(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """An MLflow database without a run. Making one takes seconds, so copy it (to `mlflow.db`) and leave it as it is."""

    def make(folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own
            from mlflow import MlflowClient

            MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return made_once("mlflow", make) / "mlflow.db"
