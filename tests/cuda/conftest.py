"""PyTorch's CUDA host code on a machine without a GPU: a stub of the runtime, built with the compiler at hand.

What it shows: devices that are mixed, operators that are refused, launches, synchronisations, copies, memory, which
collectives are issued. What it cannot: numbers, the time of kernels, what a real library does.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPILER = os.environ.get("CC", "gcc")

MadeOnce = Callable[[str, Callable[[Path], None]], Path]


def compile_library(*sources: Path, to: Path, include: tuple[Path, ...] = ()) -> None:
    options = [*(f"-I{folder}" for folder in include), "-o", str(to), *map(str, sources), "-lpthread", "-ldl"]
    subprocess.run([COMPILER, "-O1", "-fPIC", "-shared", "-w", *options], check=True)


@pytest.fixture(scope="session")
def compiler() -> None:
    if shutil.which(COMPILER) is None or shutil.which("nm") is None:
        pytest.skip(f"{COMPILER} and nm (binutils) are not installed")


@pytest.fixture(scope="session")
def stub(made_once: MadeOnce, compiler: None) -> dict[str, str]:
    """Environment variables with which a process runs on one card of the stub."""
    packages = Path(torch.__file__).parents[1]
    headers, crt = packages / "nvidia/cu13/include", packages / "triton/backends/nvidia/include/crt"
    if not (headers / "cuda_runtime_api.h").is_file() or not crt.is_dir():
        pytest.skip("this PyTorch came without CUDA's headers")

    def make(folder: Path) -> None:
        (folder / "include").mkdir()
        (folder / "include/crt").symlink_to(crt)
        include = (headers, folder / "include")
        compile_library(HERE / "stub.c", to=folder / "first.so", include=include)
        listed = subprocess.run(
            ["nm", "-D", "--defined-only", folder / "first.so"], capture_output=True, text=True, check=True
        )
        there = {line.split()[-1] for line in listed.stdout.splitlines()}
        missing = set((HERE / "symbols.txt").read_text().split()) - there
        visible = '__attribute__((visibility("default")))'
        rest = [f"{visible} long {name}() {{ return 0; }}\n" for name in sorted(missing)]
        (folder / "rest.c").write_text("".join(rest))
        compile_library(HERE / "stub.c", folder / "rest.c", to=folder / "libstub.so", include=include)
        compile_library(HERE / "driver.c", to=folder / "libcuda.so.1")

    folder = made_once("cuda_stub", make)
    return {
        "STUB_LIBRARY": str(folder / "libstub.so"),
        "LD_PRELOAD": str(folder / "libstub.so"),
        "LD_LIBRARY_PATH": str(folder),
    }


@pytest.fixture(scope="session")
def old_driver(made_once: MadeOnce, compiler: None) -> dict[str, str]:
    """Environment variables with which a process sees four cards behind a driver that is too old."""

    def make(folder: Path) -> None:
        for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
            compile_library(HERE / "old_driver.c", to=folder / name)

    return {"LD_LIBRARY_PATH": str(made_once("old_driver", make))}


def run_python(*words: str, environment: dict[str, str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, since CUDA's libraries are loaded once per process."""
    hidden = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD")
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    env = {**clean, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
