"""What params.yaml and the changes of a variant come to: every setting with its value, recipe and method filled in."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.common.errors import UserError
from pipeline.common.flatten import flatten
from pipeline.config.load import read_settings
from pipeline.methods import METHODS
from pipeline.study.study_file import Value

Resolved = dict[str, Any]
UNSET = object()


def resolve(params: str, changes: Mapping[str, Value]) -> Resolved:
    """Every setting, `section.key` -> value.

    Args:
        params: text of a params.yaml.
        changes: setting -> value, on top of it.

    Raises:
        UserError: a setting is unknown, or has a value that it cannot have.
    """
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load(params)
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise UserError(f"params.yaml has no setting {key}")
        if isinstance(place[last], dict):
            raise UserError(f"{key} is a section of params.yaml: name a setting in it")
        place[last] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        with file.open("w", encoding="utf-8") as stream:
            yaml.dump(values, stream)
        try:
            return flatten(read_settings(file, methods=METHODS).as_dict())
        except UserError as error:
            raise UserError(str(error).removeprefix(f"{file}: ").replace(str(file), "params.yaml")) from error


def differing(settings: Sequence[Resolved]) -> list[str]:
    """The settings that are not the same in all of them, in their order; the seed does not count."""
    keys = dict.fromkeys(key for each in settings for key in each if key != "seed")
    return [key for key in keys if len({repr(each.get(key, UNSET)) for each in settings}) > 1]
