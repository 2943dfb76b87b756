"""The arrows of the house: who may import whom, and what dvc.yaml has to know of it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
# From the ground up: a room imports the rooms before it alone.
ROOMS = (
    "common",
    "config",
    "datasets",
    "preparation",
    "model",
    "clustering",
    "contrast",
    "methods",
    "training",
    "evaluation",
    "inference",
    "fitting",
    "report",
    "search",
    "discovery",
    "browse",
    "study",
    "tracking",
)
# Imported to refuse bad settings early, before work that a later stage would refuse: a stage writes the same without.
CHECKS = {"stages/__init__.py": {"pipeline.methods", "pipeline.methods.METHODS"}}
# Seconds of imports, which `python -m stages.X --help` and a mistake in the arguments need not wait for.
HEAVY = {"faiss", "matplotlib", "mlflow", "numba", "onnx", "pandas", "scipy", "sklearn", "timm", "torch", "torchvision"}
CODE = sorted([*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("stages/*.py")])


def module_file(name: str) -> Path | None:
    """The file of a module of this project, None for any other name."""
    path = ROOT / Path(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported_names(file: Path, *, typing: bool = True) -> set[str]:
    """Everything that a file imports, anywhere in it, as dotted names; `typing`: for a type checker alone, too."""
    names: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if not typing:
        tree.body = [node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def closure(start: Path) -> set[Path]:
    """The files of this project that a module runs, its packages' __init__.py and its templates included."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        if file.suffix == ".j2":
            continue
        names = imported_names(file, typing=False)
        if "jinja2" in names:
            waiting += file.parent.rglob("*.j2")
        for name in names - CHECKS.get(str(file.relative_to(ROOT)), set()):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                if (other := module_file(".".join(parts[:length]))) is not None:
                    waiting.append(other)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_every_import_of_a_stage_lies_in_a_declared_folder(stage: str) -> None:
    needed = {str(file.relative_to(ROOT)) for file in closure(ROOT / "stages" / f"{stage}.py")}
    declared = [dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in ("pipeline", "stages")]
    for dep in declared:
        assert (ROOT / dep).exists(), f"{stage} declares {dep}, which does not exist"
        assert any(file == dep or file.startswith(f"{dep}/") for file in needed), f"{stage} does not import {dep}"
    missing = {file for file in needed if not file.startswith(tuple(f"{dep}/" for dep in declared))} - set(declared)
    assert missing <= {"pipeline/__init__.py"}, f"{stage} imports {sorted(missing)}, which dvc.yaml does not declare"


def test_rooms_are_the_folders_of_the_pipeline() -> None:
    assert sorted(ROOMS) == sorted(path.name for path in (ROOT / "pipeline").iterdir() if any(path.glob("*.py")))


@pytest.mark.parametrize("room", ROOMS)
def test_no_arrow_runs_up(room: str) -> None:
    above = set(ROOMS[ROOMS.index(room) + 1 :])
    for file in (ROOT / "pipeline" / room).rglob("*.py"):
        used = {name.split(".")[1] for name in imported_names(file) if name.startswith("pipeline.")}
        assert not used & above, f"{file.relative_to(ROOT)} imports {sorted(used & above)}, which stand above {room}"


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("torch.distributed", "pipeline/training/distributed/"),
        ("mlflow", "pipeline/tracking/"),
        ("matplotlib", ("pipeline/report/", "pipeline/search/")),
        ("numba", "pipeline/common/kernels.py"),
        ("jinja2", "pipeline/report/"),
        ("ruamel", ("pipeline/common/yaml_file.py", "pipeline/study/")),
        ("dvc", "pipeline/study/outcomes.py"),  # dvc.api reads an experiment; all else is by its commands
    ],
)
def test_import_stays_in_its_place(module: str, allowed: str | tuple[str, ...]) -> None:
    for place in (allowed,) if isinstance(allowed, str) else allowed:
        assert (ROOT / place).exists(), f"{place} does not exist"
    users = [
        str(f.relative_to(ROOT)) for f in CODE if any((n + ".").startswith(module + ".") for n in imported_names(f))
    ]
    assert users, f"nobody imports {module}"
    assert [user for user in users if not user.startswith(allowed)] == []


def test_stages_import_what_they_work_with_when_they_start_to_work() -> None:
    names = sorted(f"stages.{file.stem}" for file in (ROOT / "stages").glob("*.py") if file.stem != "train_process")
    code = f"import sys, {', '.join(names)}; print(*sys.modules)".replace("stages.__init__", "stages")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_settings_and_report_do_without_torchvision() -> None:
    """It takes more than a second, and only a network that is built needs it."""
    code = "import sys, stages, pipeline.report, pipeline.tracking; stages.settings(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torchvision", "timm"} & set(done.stdout.split())


def test_pipeline_does_not_import_stages() -> None:
    users = [
        f
        for f in CODE
        if f.is_relative_to(ROOT / "pipeline") and "stages" in {n.split(".")[0] for n in imported_names(f)}
    ]
    assert users == []


@pytest.mark.parametrize("forbidden", ["tracking", "evaluation", "report", "config/load.py"])
def test_training_reaches_neither_tracking_nor_evaluation_nor_settings(forbidden: str) -> None:
    assert (ROOT / "pipeline" / forbidden).exists(), "a wall around nothing"
    files = [str(file.relative_to(ROOT)) for file in closure(ROOT / "pipeline/training/session.py")]
    assert "pipeline/training/trainer.py" in files
    assert not [file for file in files if file.startswith(f"pipeline/{forbidden}")]
