"""Which settings of params.yaml are not those of the last commit: no forgotten edit is used in silence."""

import subprocess
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.flatten import flatten
from pipeline.common.text import one_line, some
from pipeline.common.yaml_file import parse_mapping, read_mapping

_ABSENT = "nothing"


def uncommitted_settings(path: Path) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (value of the last commit, value now) of the settings that differ; empty where there is no commit.

    Raises:
        UserError: the file is missing or not valid.
    """
    now = flatten(read_mapping(path, if_missing="run this in the top folder of the project"))
    try:
        done = subprocess.run(["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, check=False)
        text = done.stdout.decode() if done.returncode == 0 else ""
        committed = flatten(parse_mapping(text, path)) if text else now
    except (OSError, UnicodeDecodeError, UserError):  # no git, or not a file of settings then
        return {}
    keys = [*now, *(key for key in committed if key not in now)]
    pairs = {key: (committed.get(key, _ABSENT), now.get(key, _ABSENT)) for key in keys}
    return {key: (before, value) for key, (before, value) in pairs.items() if before != value}


def uncommitted_line(path: Path) -> str | None:
    """The settings that differ from the last commit in one line, or None."""
    changes = uncommitted_settings(path)
    if not changes:
        return None
    shown = some(one_line(f"{key}={value} (was {before})") for key, (before, value) in changes.items())
    return f"settings that differ from the last commit: {shown}"
