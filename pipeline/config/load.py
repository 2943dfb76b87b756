"""params.yaml -> frozen, validated settings: read once, at the edge of a stage.

A value `recipe` is replaced by what the recipe says at the same place, `recipes.<dataset>` or the one that `recipe`
names, and a value `method` by what the method's file says (`defaults` in pipeline/methods/<method>.py); any other value
stands. A recipe that `extends` another one holds only what differs from it; its `datasets.<dataset>` what differs for
one data set, and its `methods.<method>` what differs for one method, there also from the method's file. Unknown keys,
wrong types and impossible values stop with one line that names the key, what was given and what is allowed.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ValidationError

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.common.yaml_file import read_mapping
from pipeline.config.schema import RENAMED, MethodSettings, Settings, SourceSettings, TrainingSettings

__all__ = ["MethodRules", "Settings", "check_processes", "read_settings", "read_source_settings"]

EXTENDS = "extends"
DATASETS = "datasets"  # of a recipe for several data sets: what differs for one of them
OF_DATASET = "dataset"  # the value of `recipe` that stands for the recipe named like the data set


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


def read_settings(path: Path = Path("params.yaml"), *, methods: Mapping[str, type[MethodRules]]) -> Settings:
    """Reads, resolves and checks `path`.

    Args:
        path: of params.yaml.
        methods: name -> class of every method that there is.

    Raises:
        UserError: one line that names the key, what was given and what is allowed.
    """
    values, recipes = _read(path)
    own = values.pop("methods", None) or {}
    name = values.get("method")
    if not isinstance(name, str) or name not in methods:
        raise UserError(f"{path}: method must be one of {', '.join(methods)}, got {name!r}")
    for key in recipes:
        _check_recipe(recipes[key], recipes, methods, f"recipes.{key}", path)
        _extended(recipes, key, path)
    method = methods[name]
    place, recipe = _recipe(values, recipes, path)
    of_method = recipe.get("methods", {}).get(name, {})
    sources = {
        "recipe": (place, _on_top(recipe, of_method)),
        "method": (f"method {name}", _on_top(_nested(method.defaults), of_method)),
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
        return SourceSettings.model_validate(_fill(own, {"recipe": _recipe(values, recipes, path)}, "", path))
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_explain(each) for each in error.errors())) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings as they are written, with a data set and a recipe that exist, and apart from them the recipes."""
    values = read_mapping(path, if_missing="run this from the top folder of the project")
    recipes, dataset = values.pop("recipes", None), values.get("dataset")
    if not isinstance(recipes, dict):
        raise UserError(f"{path}: there is no section `recipes`")
    for key, recipe in recipes.items():
        if recipe is not None and not isinstance(recipe, dict):
            raise UserError(f"{path}: recipes.{key} must hold settings, got {one_line(recipe)}")
    recipes.pop(OF_DATASET, None)  # stands there for DVC alone, which follows `recipes.${recipe}`
    bases = [recipe[EXTENDS] for recipe in recipes.values() if recipe and EXTENDS in recipe]
    known = [key for key in recipes if key not in bases]
    own = [key for key in known if DATASETS not in (recipes[key] or {})]
    if not isinstance(dataset, str) or dataset not in own:
        listed = ", ".join(map(str, own))
        raise UserError(f"{path}: dataset must be one of those below `recipes` ({listed}), got {dataset!r}")
    name = values.setdefault("recipe", OF_DATASET)
    if not isinstance(name, str) or name not in (OF_DATASET, *known):
        listed = ", ".join(map(str, known))
        raise UserError(f"{path}: recipe must be {OF_DATASET} or one of those below `recipes` ({listed}), got {name!r}")
    return values, recipes


def _recipe(values: Mapping[str, Any], recipes: Mapping[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """Where the recipe in use stands, and what it says for the data set."""
    dataset, name = values["dataset"], values["recipe"]
    key = dataset if name == OF_DATASET else name
    recipe = _extended(recipes, key, path)
    return f"recipes.{key}", _on_top(recipe, recipe.get(DATASETS, {}).get(dataset, {}))


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
        _check_known(given or {}, methods[key].Settings, f"methods.{key}", path)
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


def _without(recipe: Any, *left_out: str) -> Any:
    return {key: value for key, value in recipe.items() if key not in left_out} if isinstance(recipe, dict) else recipe


def _extended(recipes: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """A recipe on top of those that it extends."""
    chain = [name]
    while (base := (recipes[chain[-1]] or {}).get(EXTENDS)) is not None:
        if not isinstance(base, str) or base not in recipes or base in chain:
            fault = "which is a circle" if base in chain else "which is no recipe"
            raise UserError(f"{path}: recipes.{chain[-1]}.{EXTENDS} is {base!r}, {fault}")
        chain.append(base)
    values: dict[str, Any] = {}
    for each in reversed(chain):
        values = _on_top(values, _without(recipes[each] or {}, EXTENDS))
    return values


def _on_top(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `values` on top of it, section by section."""
    both = {
        key: _on_top(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in values.items()
    }
    return {**base, **both}


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
            raise UserError(f"{path}: {unknown_key(f'{at}.{key}', section)}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            _check_known(value, field.annotation, f"{at}.{key}", path)


def _check_recipe(recipe: Any, recipes: Mapping[str, Any], methods: Iterable[str], at: str, path: Path) -> None:
    _check_known(_without(recipe, EXTENDS, DATASETS), Settings, at, path)
    _check_parts(recipe.get("methods", {}), methods, f"{at}.methods", path)
    by_dataset = recipe.get(DATASETS, {})
    _check_parts(by_dataset, recipes, f"{at}.{DATASETS}", path, may_have=("methods",))
    for name, part in by_dataset.items():
        _check_parts(part.get("methods", {}), methods, f"{at}.{DATASETS}.{name}.methods", path)


def _check_parts(values: Any, known: Iterable[str], at: str, path: Path, *, may_have: tuple[str, ...] = ()) -> None:
    """What a recipe says of single methods or data sets: of the training alone; images and weights are there before."""
    if not isinstance(values, dict):
        raise UserError(f"{path}: {at} must hold keys and values, got {values!r}")
    for name, recipe in values.items():
        if name not in known:
            raise UserError(f"{path}: unknown key {at}.{name}; known are {', '.join(map(str, known))}")
        _check_known(recipe, TrainingSettings, f"{at}.{name}", path)
        for key in ("dataset", "method", "methods", "backbone", "image"):
            if key in recipe and key not in may_have:
                all_of_them = at.rpartition(".")[2].replace("datasets", "data sets")
                raise UserError(f"{path}: {at}.{name}.{key} must stand in the recipe, the same for all {all_of_them}")


def unknown_key(place: str, section: type[BaseModel]) -> str:
    """What to say of a key that `section` does not have: its new name, or those that there are."""
    key = place.split(".")[-1]
    if key in RENAMED and section is Settings:
        return f"{place} is called {RENAMED[key]} now"
    return f"unknown key {place}; known are {', '.join(section.model_fields)}"


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
