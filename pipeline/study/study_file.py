"""A study file -> the variants to train: which settings each of them changes, and with which seeds.

A file holds `title`, `description`, `seeds`, and at least one of three ways to name variants, which may stand together:
`runs` (name -> settings), `vary` (setting -> values, one at a time, beside a run with none of them changed) and `grid`
(setting -> values, every combination). Settings are written as `dvc exp run -S` takes them: `memory.tau: 0.05`.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.common.errors import UserError
from pipeline.common.yaml_file import read_mapping

Value = bool | int | float | str
Settings = dict[str, Value]
DEFAULT = "default"
MOST_RUNS = 1_000  # combinations of a grid


@dataclass(frozen=True)
class Variant:
    """One line of a comparison.

    Attributes:
        name: for people.
        slug: `name` as a part of the name of an experiment.
        changes: setting -> value, on top of params.yaml.
    """

    name: str
    slug: str
    changes: Mapping[str, Value]


@dataclass(frozen=True)
class Study:
    """What a study file says.

    Attributes:
        name: of the file, without its suffix.
        title, description: for people.
        seeds: each variant is trained with each of them.
        variants: in the order of the file.
    """

    name: str
    title: str
    description: str
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    title: str = Field(min_length=1)
    description: str = ""
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=1)
    runs: dict[str, Settings] = {}
    vary: dict[str, Annotated[list[Value], Field(min_length=1)]] = {}
    grid: dict[str, Annotated[list[Value], Field(min_length=1)]] = {}


def read_study(path: Path) -> Study:
    """Reads and checks a study file.

    Raises:
        UserError: one line that names the file and the key.
    """
    name = slug_of(path.stem)
    if not name:
        raise UserError(f"{path}: the name of a study file needs a letter or a digit")
    try:
        file = _File.model_validate(read_mapping(path, if_missing="name a study file, such as studies/ablation.yaml"))
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(dict.fromkeys(map(_explain, error.errors())))) from error
    if repeated := [str(seed) for seed, times in Counter(file.seeds).items() if times > 1]:
        raise UserError(f"{path}: seeds names {', '.join(repeated)} more than once")
    try:
        named = list(_variants(file))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not named:
        raise UserError(f"{path}: there is no run: name some by runs, vary or grid")
    for each, changes in named:
        if "seed" in changes:
            raise UserError(f"{path}: {each!r} sets seed: name the seeds in `seeds`")
    return Study(name, file.title, file.description.strip(), tuple(file.seeds), _with_slugs(named, path))


def slug_of(name: str) -> str:
    """`name` as git and DVC take it in the name of an experiment: `+ L_ss` -> `l_ss`."""
    return re.sub(r"\.{2,}|\.(?=-|$)", "-", re.sub(r"[^a-z0-9._]+", "-", name.lower())).strip("-.")


def written(changes: Mapping[str, Value]) -> str:
    """Settings as a person reads them: `memory.tau=0.05 loss.weight=0`."""
    return " ".join(f"{key}={yaml_value(value)}" for key, value in changes.items())


def yaml_value(value: Value) -> str:
    """A value as params.yaml has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _variants(file: _File) -> Iterator[tuple[str, Settings]]:
    yield from file.runs.items()
    if file.vary:
        yield DEFAULT, {}
    for key, values in file.vary.items():
        for value in values:
            yield written({key: value}), {key: value}
    if file.grid:
        if (number := math.prod(map(len, file.grid.values()))) > MOST_RUNS:
            raise UserError(f"grid has {number:,} combinations: at most {MOST_RUNS:,} can be compared")
        for combination in itertools.product(*file.grid.values()):
            changes = dict(zip(file.grid, combination, strict=True))
            yield written(changes), changes


def _with_slugs(named: list[tuple[str, Settings]], path: Path) -> tuple[Variant, ...]:
    taken: dict[str, str] = {}
    variants = []
    for name, changes in named:
        slug = slug_of(name)
        if not slug:
            raise UserError(f"{path}: the name of a run needs a letter or a digit, got {name!r}")
        if slug in taken:
            raise UserError(f"{path}: {taken[slug]!r} and {name!r} would both be called {slug}: rename one")
        taken[slug] = name
        variants.append(Variant(name, slug, changes))
    return tuple(variants)


def _explain(error: Any) -> str:
    place = [part for part in error["loc"] if part not in ("bool", "int", "float", "str")]  # members of the union
    key = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}; known are {', '.join(_File.model_fields)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "dict_type":
        return f"{key} must be a mapping of settings to values, got {error['input']!r}"
    if place[0] in ("runs", "vary", "grid") and len(place) < len(error["loc"]):
        return f"{key} must be a number, a word, true or false, got {error['input']!r}"
    return f"{key} must be {error['msg'].removeprefix('Input should be ')}, got {error['input']!r}"
