"""The recipes of params.yaml: which one is in use, what it extends, and what it says for one data set or one method.

A recipe that `extends` another one holds only what differs from it; its `datasets.<dataset>` holds what differs for one
data set, and its `methods.<method>` what differs for one method. A recipe with `datasets` is for several data sets, and
the setting `recipe` names it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.config.schema import RENAMED, Settings, TrainingSettings

EXTENDS = "extends"
DATASETS = "datasets"
OF_DATASET = "dataset"  # the value of `recipe` that stands for the recipe named like the data set


def take_recipes(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Takes the recipes out of what params.yaml says, and checks that it names a data set and a recipe that exist.

    Raises:
        UserError: it does not.
    """
    recipes, dataset = values.pop("recipes", None), values.get("dataset")
    if not isinstance(recipes, dict):
        raise UserError(f"{path}: there is no section `recipes`")
    for key, recipe in recipes.items():
        if recipe is not None and not isinstance(recipe, dict):
            raise UserError(f"{path}: recipes.{key} must hold settings, got {one_line(recipe)}")
    recipes.pop(OF_DATASET, None)  # stands there for DVC alone, which follows `recipes.${recipe}`
    bases = [recipe[EXTENDS] for recipe in recipes.values() if recipe and EXTENDS in recipe]
    several = [key for key in recipes if _is_for_several(recipes, key)]
    own = [key for key in recipes if key not in (*bases, *several)]
    known = [*own, *several]
    if not isinstance(dataset, str) or dataset not in own:
        listed = ", ".join(map(str, own))
        raise UserError(f"{path}: dataset must be one of those below `recipes` ({listed}), got {dataset!r}")
    name = values.setdefault("recipe", OF_DATASET)
    if not isinstance(name, str) or name not in (OF_DATASET, *known):
        listed = ", ".join(map(str, known))
        raise UserError(f"{path}: recipe must be {OF_DATASET} or one of those below `recipes` ({listed}), got {name!r}")
    return recipes


def recipe_of(values: Mapping[str, Any], recipes: Mapping[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """Where the recipe in use stands, and what it says for the data set."""
    dataset, name = values["dataset"], values["recipe"]
    key = dataset if name == OF_DATASET else name
    recipe = extended(recipes, key, path)
    by_dataset = recipe.get(DATASETS)
    part = by_dataset.get(dataset) if isinstance(by_dataset, dict) else None
    return f"recipes.{key}", on_top(recipe, part if isinstance(part, dict) else {})  # anything else: `check_recipe`


def _is_for_several(recipes: Mapping[str, Any], key: Any) -> bool:
    """Whether a recipe, or one that it extends, has `datasets`."""
    seen: list[Any] = []
    while isinstance(key, str) and key in recipes and key not in seen:
        recipe = recipes[key] or {}
        if DATASETS in recipe:
            return True
        seen.append(key)
        key = recipe.get(EXTENDS)
    return False


def extended(recipes: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """A recipe on top of those that it extends."""
    chain = [name]
    while (base := (recipes[chain[-1]] or {}).get(EXTENDS)) is not None:
        if not isinstance(base, str) or base not in recipes or base in chain:
            fault = "which is a circle" if base in chain else "which is no recipe"
            raise UserError(f"{path}: recipes.{chain[-1]}.{EXTENDS} is {base!r}, {fault}")
        chain.append(base)
    values: dict[str, Any] = {}
    for each in reversed(chain):
        values = on_top(values, _without(recipes[each] or {}, EXTENDS))
    return values


def on_top(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `values` on top of it, section by section."""
    both = {
        key: on_top(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in values.items()
    }
    return {**base, **both}


def check_recipe(recipe: Any, recipes: Mapping[str, Any], methods: Iterable[str], at: str, path: Path) -> None:
    check_known(_without(recipe, EXTENDS, DATASETS), Settings, at, path)
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
        check_known(recipe, TrainingSettings, f"{at}.{name}", path)
        for key in ("dataset", "method", "methods", "backbone", "image"):
            if key in recipe and key not in may_have:
                all_of_them = at.rpartition(".")[2].replace("datasets", "data sets")
                raise UserError(f"{path}: {at}.{name}.{key} must stand in the recipe, the same for all {all_of_them}")


def check_known(recipe: Any, section: type[BaseModel], at: str, path: Path) -> None:
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: {at} must hold keys and values, got {recipe!r}")
    for key, value in recipe.items():
        field = section.model_fields.get(key)
        if field is None:
            raise UserError(f"{path}: {unknown_key(f'{at}.{key}', section)}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            check_known(value, field.annotation, f"{at}.{key}", path)


def unknown_key(place: str, section: type[BaseModel]) -> str:
    """What to say of a key that `section` does not have: its new name, or those that there are."""
    key = place.split(".")[-1]
    if key in RENAMED and section is Settings:
        return f"{place} is called {RENAMED[key]} now"
    return f"unknown key {place}; known are {', '.join(section.model_fields)}"


def _without(recipe: Any, *left_out: str) -> Any:
    return {key: value for key, value in recipe.items() if key not in left_out} if isinstance(recipe, dict) else recipe
