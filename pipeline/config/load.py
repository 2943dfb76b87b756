"""params.yaml -> frozen, validated settings: read once, at the edge of a stage.

A value `recipe` is replaced by what `recipes.<dataset>` says at the same place, a value `method` by what
`methods.<method>` says; any other value stands. Unknown keys, wrong types and impossible values stop with one line that
names the key, what was given and what is allowed.
"""

from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from pipeline.common.errors import UserError
from pipeline.common.yaml_file import read_mapping
from pipeline.config.schema import Settings
from pipeline.methods.registry import METHODS

__all__ = ["Settings", "check_processes", "read_settings"]


# Word that leaves a value to a table of params.yaml -> the setting that says which of its entries.
_FILLED = {"recipe": "dataset", "method": "method"}


def read_settings(path: Path = Path("params.yaml")) -> Settings:
    """Reads, resolves and checks `path`.

    Raises:
        UserError: one line that names the key, what was given and what is allowed.
    """
    values = read_mapping(path, if_missing="run this from the top folder of the project")
    tables = {key: values.pop(f"{key}s", None) for key in _FILLED}
    sources = {}
    for word, key in _FILLED.items():
        table, name = tables[word], values.get(key)
        if not isinstance(table, dict):
            raise UserError(f"{path}: there is no section `{word}s`")
        if not isinstance(name, str) or name not in table:
            known = ", ".join(map(str, table))
            raise UserError(f"{path}: {key} must be one of those below `{word}s` ({known}), got {name!r}")
        _check_known(table[name] or {}, Settings, f"{word}s.{name}", path)
        sources[word] = (f"{word}s.{name}", table[name] or {})
    try:
        settings = Settings.model_validate(_fill(values, sources, "", path))
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_explain(each) for each in error.errors())) from error
    _check_method(settings, path)
    _check_together(settings, path)
    return settings


def _fill(values: dict[str, Any], sources: dict[str, tuple[str, Any]], at: str, path: Path) -> dict[str, Any]:
    """`values`, with every word that names a source replaced by what that source says at the same place."""
    filled = {}
    for key, value in values.items():
        place = f"{at}{key}"
        if isinstance(value, dict):
            value = _fill(value, sources, f"{place}.", path)
        elif isinstance(value, str) and value in sources:
            source, given = sources[value]
            for part in place.split("."):
                given = given.get(part) if isinstance(given, dict) else None
            if given is None:
                raise UserError(f"{path}: {place} is left to the {value}, but {source} has no {place}")
            value = given
        filled[key] = value
    return filled


def _check_known(recipe: Any, section: type[BaseModel], at: str, path: Path) -> None:
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: {at} must hold keys and values, got {recipe!r}")
    for key, value in recipe.items():
        field = section.model_fields.get(key)
        if field is None:
            raise UserError(f"{path}: unknown key {at}.{key}; known are {', '.join(section.model_fields)}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            _check_known(value, field.annotation, f"{at}.{key}", path)


def _check_method(settings: Settings, path: Path) -> None:
    """Raises UserError unless all parts are the method's: a run is never called by another method's name."""
    if settings.method not in METHODS:
        raise UserError(f"{path}: method must be one of {', '.join(METHODS)}, got {settings.method!r}")
    for place, allowed in METHODS[settings.method].parts.items():
        section, key = place.split(".")
        given = getattr(getattr(settings, section), key)
        if given not in allowed:
            fitting = ", ".join(name for name, method in METHODS.items() if given in method.parts.get(place, (given,)))
            raise UserError(
                f"{path}: {place} must be {' or '.join(map(str, allowed))} for method {settings.method}, got {given} "
                f"(which fits method {fitting})"
            )
    reliability, eps = settings.reliability, settings.clustering.eps
    if settings.method == "spcl" and not reliability.delta < min(eps, 1 - eps):
        raise UserError(
            f"{path}: reliability.delta must keep clustering.eps in (0, 1) both ways, got {reliability.delta} at {eps}"
        )


def _check_together(settings: Settings, path: Path) -> None:
    batch, instances, group = settings.sampler.batch, settings.sampler.instances, settings.model.bn_group
    if batch % instances:
        raise UserError(f"{path}: sampler.batch must be a multiple of sampler.instances, got {batch} and {instances}")
    if batch % group:
        raise UserError(f"{path}: sampler.batch must be a multiple of model.bn_group, got {batch} and {group}")
    processes = settings.train.processes
    if isinstance(processes, int):
        check_processes(settings, processes, path)


def check_processes(settings: Settings, processes: int, path: Path = Path("params.yaml")) -> None:
    """Raises UserError unless the batch can be shared: every process takes whole BatchNorm groups."""
    groups = settings.sampler.batch // settings.model.bn_group
    if processes < 1 or groups % processes:
        raise UserError(
            f"{path}: train.processes must divide sampler.batch / model.bn_group = {groups}, got {processes}"
        )


def _explain(error: Any) -> str:
    place = [str(part) for part in error["loc"]]
    if place[-1:] in (["int"], ["literal['auto']"]):
        place.pop()  # the member of a union that did not fit
    key = ".".join(place)
    if error["type"] == "extra_forbidden":
        section = _section(place[:-1])
        return f"unknown key {key}; known are {', '.join(section.model_fields)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    return f"{key} must be {error['msg'].removeprefix('Input should be ')}, got {error['input']!r}"


def _section(place: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Settings
    for part in place:
        section = cast(type[BaseModel], section.model_fields[part].annotation)
    return section
