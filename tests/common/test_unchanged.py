"""What is edited while a stage runs is noticed at its end."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.common.unchanged import Unchanged


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules, one of which is imported, and a template."""
    folder = tmp_path / "edited_package"
    folder.mkdir()
    for name in ("__init__.py", "used.py", "unused.py", "page.html.j2"):
        (folder / name).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("edited_package.used")
    yield folder
    for name in ("edited_package", "edited_package.used"):
        sys.modules.pop(name)


def watch(code: Path, settings: dict[str, Any]) -> Unchanged:
    return Unchanged(lambda: settings, root=code.parent, packages=("edited_package",))


def test_unchanged_passes_what_is_as_it_was(code: Path) -> None:
    unchanged = watch(code, {"seed": 1})
    (code / "unused.py").write_text("new")
    (code / "later.py").write_text("new")
    unchanged.require()


def test_unchanged_names_the_setting(code: Path) -> None:
    settings: dict[str, Any] = {"seed": 1, "clustering": {"eps": 0.5, "k1": 3}}
    unchanged = watch(code, settings)
    settings["seed"], settings["clustering"] = 2, {"eps": 0.5, "k1": 4}
    with pytest.raises(UserError, match=r"params.yaml was changed .* \(clustering.k1 3 -> 4, seed 1 -> 2\)"):
        unchanged.require()


@pytest.mark.parametrize("name", ["used.py", "page.html.j2"])
def test_unchanged_names_the_file(code: Path, name: str) -> None:
    unchanged = watch(code, {})
    (code / name).write_text("new")
    with pytest.raises(UserError, match=rf"the code was changed .* \(edited_package/{name}\)"):
        unchanged.require()


def test_unchanged_notices_a_file_that_has_gone(code: Path) -> None:
    unchanged = watch(code, {})
    (code / "used.py").unlink()
    with pytest.raises(UserError, match="used.py"):
        unchanged.require()
