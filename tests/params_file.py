"""Changing params.yaml as a person does."""

from pathlib import Path

from ruamel.yaml import YAML


def change_params(path: Path, changes: dict[str, object]) -> Path:
    """Changes values in `path`: `clustering__eps: 0.6` is `-S clustering.eps=0.6`; a dot does as well."""
    yaml = YAML()
    values = yaml.load(path)
    for place, value in changes.items():
        *sections, key = place.replace("__", ".").split(".")
        section = values
        for name in sections:
            section = section[name]
        section[key] = value
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(values, file)
    return path
