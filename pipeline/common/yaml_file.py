"""YAML files that the user writes, and those that lie beside results."""

import io
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tokens import AliasToken

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.common.text import printable

# A few lines of aliases to aliases stand for more values than there is memory.
MOST_ALIASES = 20
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}
MOST_BYTES = 1_000_000
MOST_NESTED = 100  # brackets; the parser takes quadratic time for them


def read_mapping(path: Path, *, if_missing: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        path: of the file.
        if_missing: what to tell the user to do where there is none.

    Raises:
        UserError: it is missing, or not valid, or something else than keys and values.
    """
    try:
        return parse_mapping(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: {if_missing}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error


def parse_mapping(text: str, path: Path) -> dict[str, Any]:
    """The keys and values of the text of the YAML file `path`.

    Raises:
        UserError: it is not valid, or something else than keys and values.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        if len(text) > MOST_BYTES:
            raise UserError(f"{path} has {len(text):,} characters: no settings are that long")
        if max(accumulate(_BRACKETS.get(each, 0) for each in text), default=0) > MOST_NESTED:
            raise UserError(f"{path} is not valid: it is nested too deeply")
        aliases = sum(isinstance(token, AliasToken) for token in yaml.scan(text))
        if aliases > MOST_ALIASES:
            raise UserError(f"{path} has {aliases} aliases (*name): write the values out, {MOST_ALIASES} are allowed")
        values = yaml.load(text)
    except RecursionError as error:
        raise UserError(f"{path} is not valid: it is nested too deeply") from error
    except UserError:
        raise
    except (YAMLError, ValueError) as error:  # ValueError: a number or a text that Python cannot hold
        raise UserError(f"{path} is not valid YAML: {printable(' '.join(str(error).split()))}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def write_mapping(path: Path, values: Mapping[str, Any]) -> None:
    """Writes nested plain values as YAML to `path` in one step, so that they are read back as they are."""
    stream = io.StringIO()
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.dump(dict(values), stream)
    write_text(path, stream.getvalue())
