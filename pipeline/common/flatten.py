"""Nested settings as one level of dotted names."""

from collections.abc import Mapping
from typing import Any


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf of nested mappings under its dotted name, in their order: `{"a": {"b": 1}}` becomes `{"a.b": 1}`.

    An empty mapping is a leaf.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
