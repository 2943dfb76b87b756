"""The arrows of the house: who may import whom, and what dvc.yaml has to know of it."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
CODE = sorted([*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("stages/*.py")])


def module_file(name: str) -> Path | None:
    """The file of a module of this project, None for any other name."""
    path = ROOT / Path(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported_names(file: Path) -> set[str]:
    """Everything that a file imports, anywhere in it, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
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
        waiting += [
            file.with_name(name) for name in re.findall(r'with_name\("([\w.]+\.j2)"\)', file.read_text("utf-8"))
        ]
        for name in imported_names(file):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                if (other := module_file(".".join(parts[:length]))) is not None:
                    waiting.append(other)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_modules_that_the_stage_imports(stage: str) -> None:
    needed = {str(file.relative_to(ROOT)) for file in closure(ROOT / "stages" / f"{stage}.py")}
    declared = [dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in ("pipeline", "stages")]
    covered: set[str] = set()
    for dep in declared:
        path = ROOT / dep
        here = {str(f.relative_to(ROOT)) for f in path.rglob("*") if f.is_file() and f.suffix in (".py", ".j2")}
        files = here if path.is_dir() else {dep}
        assert files & needed, f"{stage} declares {dep}, which it does not import"
        covered |= files
    assert needed <= covered, f"{stage} imports {sorted(needed - covered)}, which dvc.yaml does not declare"


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("torch.distributed", "pipeline/training/distributed/"),
        ("mlflow", "pipeline/tracking/"),
        ("matplotlib", "pipeline/report/"),
        ("jinja2", "pipeline/report/"),
        ("ruamel", ("pipeline/yaml_file.py", "pipeline/study/")),
        ("dvc", "pipeline/study/"),
    ],
)
def test_import_stays_in_its_place(module: str, allowed: str | tuple[str, ...]) -> None:
    users = [
        str(f.relative_to(ROOT)) for f in CODE if any((n + ".").startswith(module + ".") for n in imported_names(f))
    ]
    assert users, f"nobody imports {module}"
    assert [user for user in users if not user.startswith(allowed)] == []


def test_pipeline_does_not_import_stages() -> None:
    users = [
        f
        for f in CODE
        if f.is_relative_to(ROOT / "pipeline") and "stages" in {n.split(".")[0] for n in imported_names(f)}
    ]
    assert users == []


def test_trainer_knows_neither_tracking_nor_evaluation_nor_settings() -> None:
    files = {str(file.relative_to(ROOT / "pipeline")) for file in closure(ROOT / "pipeline/training/session.py")}
    assert not files & {"tracking.py", "params.py", "retrieval/scoring.py"}
    own = imported_names(ROOT / "pipeline/training/trainer.py")
    assert not {name for name in own if name.startswith(("pipeline.retrieval.evaluation", "pipeline.tracking"))}
