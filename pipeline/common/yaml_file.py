"""YAML files that the user writes, and those that lie beside results."""

import io
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode
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


def with_values(text: str, changes: Mapping[str, Any], path: Path) -> str:
    """The text of the YAML file `path` with other values; every other character, comments too, is as it was.

    Args:
        text: valid YAML, see `parse_mapping`.
        changes: place (`section.key`) -> plain value.
        path: for the message.

    Raises:
        UserError: there is no such place.
    """
    root = YAML(pure=True).compose(text)
    spans = []
    for place, value in changes.items():
        node = root
        for key in place.split("."):
            pairs = node.value if isinstance(node, MappingNode) else []
            node = next((below for name, below in pairs if name.value == key), None)
        if node is None:
            raise UserError(f"{path} has no setting {place}")
        spans.append((node.start_mark.index, node.end_mark.index, _inline(value)))
    for start, end, shown in sorted(spans, reverse=True):
        behind = text[end:].partition("\n")[0]
        room = len(behind) - len(behind.lstrip(" "))
        rest = text[end:]
        if behind.lstrip(" ").startswith("#"):  # a comment stays in its column
            rest = " " * max(1, room - len(shown) + end - start) + rest[room:]
        text = text[:start] + shown + rest
    return text


def _inline(value: Any) -> str:
    """A plain value as it stands behind its key, in one line."""
    stream, yaml = io.StringIO(), YAML(pure=True)
    yaml.default_flow_style, yaml.width = True, MOST_BYTES
    yaml.dump({"key": value}, stream)
    return stream.getvalue().strip().removeprefix("{key: ").removesuffix("}")


def write_mapping(path: Path, values: Mapping[str, Any]) -> None:
    """Writes nested plain values as YAML to `path` in one step, so that they are read back as they are."""
    stream = io.StringIO()
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.dump(dict(values), stream)
    write_text(path, stream.getvalue())
