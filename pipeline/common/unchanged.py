"""Whether what a stage was started with is still there at its end.

DVC reads params.yaml and the code when a stage has ended, and records them beside its results. What was edited while
the stage ran would be recorded with results that it did not make, and come back from the run cache ever after.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.flatten import flatten

_NUM_SHOWN = 4


class Unchanged:
    """The settings and the code at the start of a stage.

    Args:
        settings: gives those that decide the results, as nested plain values; called now and at the end.
        root: folder of the packages.
        packages: names of the packages whose files are watched.
    """

    def __init__(
        self,
        settings: Callable[[], Mapping[str, Any]],
        *,
        root: Path,
        packages: tuple[str, ...] = ("pipeline", "stages"),
    ) -> None:
        self._settings, self._root, self._packages = settings, root, packages
        self._values = flatten(settings())
        self._files = {path: _digest(path) for package in packages for path in self._sources(package)}

    def require(self) -> None:
        """Raises UserError if a setting, or a file of the code that ran, is not as it was."""
        now = flatten(self._settings())
        keys = [key for key in sorted(self._values.keys() | now.keys()) if self._values.get(key) != now.get(key)]
        changes = [f"{key} {self._values.get(key)} -> {now.get(key)}" for key in keys]
        where = "params.yaml"
        if not changes:
            where = "the code"
            changes = [str(path.relative_to(self._root)) for path in self._used() if _digest(path) != self._files[path]]
        if changes:
            shown = ", ".join(changes[:_NUM_SHOWN]) + (", ..." if len(changes) > _NUM_SHOWN else "")
            raise UserError(
                f"{where} was changed while this stage ran ({shown}), so that DVC would record what did not make these "
                "results",
                "nothing was recorded; run `dvc repro` again, or change it back first",
            )

    def _sources(self, package: str) -> list[Path]:
        return [path for path in (self._root / package).rglob("*") if path.suffix in (".py", ".j2")]

    def _used(self) -> list[Path]:
        """Files of the modules that have been imported, and the templates beside them."""
        loaded = [Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
        folders = {path.parent for path in loaded}
        return [path for path in self._files if path in loaded or (path.suffix == ".j2" and path.parent in folders)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
