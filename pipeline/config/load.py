"""params.yaml -> frozen, validated settings: read once, at the edge of a stage.

A value `recipe` is replaced by what the recipe says at the same place (`recipes.py`), and a value `method` by what the
recipe says for the method, else the method's file (`defaults` in pipeline/methods/<method>.py); any other value stands.
Unknown keys, wrong types and impossible values stop with one line that names the key, what was given and what is
allowed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ValidationError

from pipeline.common.errors import UserError
from pipeline.common.yaml_file import parse_mapping, read_mapping
from pipeline.config.recipes import check_known, check_recipe, extended, on_top, recipe_of, take_recipes, unknown_key
from pipeline.config.schema import MethodSettings, Settings, SourceSettings, TrainingSettings

__all__ = ["MethodRules", "Settings", "check_processes", "read_settings", "read_source_settings"]


class MethodRules(Protocol):
    """What the settings have to know of a method; the classes of pipeline/methods/ have it.

    Attributes:
        defaults: place of a setting -> what the value `method` stands for there.
        allowed: place of a setting -> the values that belong to the method; all others are free.
        Settings: of the method's own settings, `methods.<method>`.
    """

    defaults: ClassVar[Mapping[str, Any]]
    allowed: ClassVar[Mapping[str, tuple[Any, ...]]]
    Settings: ClassVar[type[MethodSettings]]

    @classmethod
    def conflict(cls, settings: TrainingSettings) -> str | None:
        """What does not fit together in otherwise valid settings, None where all does."""


def read_settings(
    path: Path = Path("params.yaml"), *, methods: Mapping[str, type[MethodRules]], text: str | None = None
) -> Settings:
    """Reads, resolves and checks `path`.

    Args:
        path: of params.yaml.
        methods: name -> class of every method that there is.
        text: that is to be written there; None = what the file holds.

    Raises:
        UserError: one line that names the key, what was given and what is allowed.
    """
    values, recipes = _read(path, text)
    own = values.pop("methods", None) or {}
    name = values.get("method")
    if not isinstance(name, str) or name not in methods:
        raise UserError(f"{path}: method must be one of {', '.join(methods)}, got {name!r}")
    for key in recipes:
        check_recipe(recipes[key], recipes, methods, f"recipes.{key}", path)
        extended(recipes, key, path)
    method = methods[name]
    place, recipe = recipe_of(values, recipes, path)
    of_method = recipe.get("methods", {}).get(name, {})
    sources = {
        "recipe": (place, on_top(recipe, of_method)),
        "method": (f"method {name}", on_top(_nested(method.defaults), of_method)),
    }
    filled = _fill(values, sources, "", path)
    try:
        filled["methods"] = {name: _own_settings(own, method.Settings, name, methods, path)}
        settings = Settings.model_validate(filled)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_explain(each) for each in error.errors())) from error
    _check_method(settings, methods, path)
    _check_together(settings, path)
    return settings


def read_source_settings(path: Path = Path("params.yaml")) -> SourceSettings:
    """As `read_settings`, for these few settings alone: without the methods, whose import takes seconds.

    Raises:
        UserError: as `read_settings`.
    """
    values, recipes = _read(path)
    own = {key: values[key] for key in SourceSettings.model_fields if key in values}
    try:
        return SourceSettings.model_validate(_fill(own, {"recipe": recipe_of(values, recipes, path)}, "", path))
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_explain(each) for each in error.errors())) from error


def _read(path: Path, text: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings as they are written, with a data set and a recipe that exist, and apart from them the recipes."""
    if text is None:
        values = read_mapping(path, if_missing="run this from the top folder of the project")
    else:
        values = parse_mapping(text, path)
    return values, take_recipes(values, path)


def check_processes(settings: Settings, processes: int, path: Path = Path("params.yaml")) -> None:
    """Raises UserError unless the batch can be shared: every process takes whole BatchNorm groups."""
    groups = settings.num_groups
    if processes < 1 or groups % processes:
        raise UserError(
            f"{path}: train.processes must divide sampler.batch / model.bn_group = {groups}, got {processes}"
        )


def _own_settings(
    values: Any, schema: type[MethodSettings], name: str, methods: Mapping[str, type[MethodRules]], path: Path
) -> MethodSettings:
    """The method's own settings: its schema's defaults, and on top of them what `methods.<name>` says."""
    if not isinstance(values, dict):
        raise UserError(f"{path}: methods must hold keys and values, got {values!r}")
    for key, given in values.items():
        if key not in methods:
            raise UserError(f"{path}: unknown key methods.{key}; known are {', '.join(methods)}")
        check_known(given or {}, methods[key].Settings, f"methods.{key}", path)
    try:
        return schema.model_validate(values.get(name) or {})
    except ValidationError as error:
        explained = "; ".join(f"methods.{name}.{_explain(each)}" for each in error.errors())
        raise UserError(f"{path}: {explained}") from error


def _nested(places: Mapping[str, Any]) -> dict[str, Any]:
    """Values by place (`memory.update`) as nested sections."""
    sections: dict[str, Any] = {}
    for place, value in places.items():
        section, key = place.split(".")
        sections.setdefault(section, {})[key] = value
    return sections


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


def _check_method(settings: Settings, methods: Mapping[str, type[MethodRules]], path: Path) -> None:
    """Raises UserError unless all parts are the method's: a run is never called by another method's name."""
    for place, allowed in methods[settings.method].allowed.items():
        section, key = place.split(".")
        given = getattr(getattr(settings, section), key)
        if given not in allowed:
            fitting = ", ".join(
                name for name, method in methods.items() if given in method.allowed.get(place, (given,))
            )
            raise UserError(
                f"{path}: {place} must be {' or '.join(map(str, allowed))} for method {settings.method}, got {given} "
                f"(which fits method {fitting})"
            )
    if conflict := methods[settings.method].conflict(settings):
        raise UserError(f"{path}: {conflict}")


def _check_together(settings: Settings, path: Path) -> None:
    batch, instances, group = settings.sampler.batch, settings.sampler.instances, settings.model.bn_group
    if batch % instances:
        raise UserError(f"{path}: sampler.batch must be a multiple of sampler.instances, got {batch} and {instances}")
    if batch % group:
        raise UserError(f"{path}: sampler.batch must be a multiple of model.bn_group, got {batch} and {group}")
    optimizer = settings.optimizer
    if optimizer.schedule == "milestones" and optimizer.milestones[-1] >= settings.epochs:
        raise UserError(
            f"{path}: optimizer.milestones must lie before the end of the training, which has epochs "
            f"{settings.epochs}, got {optimizer.milestones[-1]}"
        )
    processes = settings.train.processes
    if isinstance(processes, int):
        check_processes(settings, processes, path)


def _explain(error: Any) -> str:
    place = [str(part) for part in error["loc"]]
    # The member of a union that did not fit stands last in the place.
    while len(place) > 1 and (place[-1] in ("int", "float") or place[-1].startswith("literal[")):
        place.pop()
    key = ".".join(place)
    if error["type"] == "extra_forbidden":
        return unknown_key(key, _section(place[:-1]))
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        return f"{key} must be text, got the number {error['input']!r}: put it in quotes ('{key}=\"...\"' behind -S)"
    rule = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key} must be {rule}, got {error['input']!r}"


def _section(place: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Settings
    for part in place:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        section = annotation
    return section
