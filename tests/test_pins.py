"""The lists for pip and pyproject.toml (for uv) name the same versions, and no registry."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def listed(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]


def package(line: str) -> str:
    return re.split(r"[\[>=]", line)[0].replace("_", "-")


def test_pins_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = project["tool"]["uv"]["constraint-dependencies"]
    lists = ("requirements.txt", "requirements-s3.txt", "requirements-docs.txt")
    lines = [line for name in lists for line in listed(name)]
    assert sorted(lines) == sorted(pinned)
    assert all(re.fullmatch(r"[\w.\-]+(\[[\w,]+\])?==\S+( ; .+)?", line) for line in lines)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {package(pin) for pin in project["tool"]["uv"]["constraint-dependencies"]}
    groups = (*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values())
    names = [*project["project"]["dependencies"], *(name for group in groups for name in group)]
    assert {package(name) for name in names if "==" not in name} <= pinned  # or pinned where it is named


def test_tests_have_what_a_team_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["project"]["optional-dependencies"]["team"]) <= set(project["dependency-groups"]["dev"])


def test_documentation_asks_for_nothing_that_the_experiment_needs() -> None:
    apart = {package(line) for line in listed("requirements-docs.txt")}
    assert {"mkdocs", "mkdocs-material", "mkdocstrings"} <= apart
    assert apart.isdisjoint(package(line) for line in listed("requirements.txt"))


def test_packages_for_s3_alone_stand_apart_for_pip() -> None:
    """Which refuses the versions of the others beside them."""
    apart = {package(line) for line in listed("requirements-s3.txt")}
    assert {"boto3", "botocore", "dvc-s3", "moto", "s3fs"} <= apart
    assert apart.isdisjoint(package(line) for line in listed("requirements.txt"))
