"""requirements.txt (for pip) and pyproject.toml (for uv) name the same versions, and no registry."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_pins_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = project["tool"]["uv"]["constraint-dependencies"]
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == pinned
    assert all(re.fullmatch(r"[\w.\-]+(\[[\w,]+\])?==\S+( ; .+)?", line) for line in lines)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {re.split(r"[\[=]", pin)[0].replace("_", "-") for pin in project["tool"]["uv"]["constraint-dependencies"]}
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert {re.split(r"[\[>=]", name)[0] for name in wanted} <= pinned
