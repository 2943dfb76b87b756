"""Reading a YAML file that a person writes."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.common.errors import UserError


def read_mapping(path: Path, *, if_missing: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        path: of the file.
        if_missing: what to tell a person to do where there is none.

    Raises:
        UserError: it is missing, or not valid, or something else than keys and values.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: {if_missing}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values
