"""params.yaml -> frozen, validated settings: read once, at the edge of a stage.

A value `recipe` is replaced by what `recipes.<dataset>` says at the same place; any other value stands. Unknown keys,
wrong types and impossible values stop with one line that names the key, what was given and what is allowed.
"""

from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import UserError
from pipeline.files import write_text

RECIPE = "recipe"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Image(_Section):
    height: int = Field(ge=8, le=4096)
    width: int = Field(ge=8, le=4096)


class Synthetic(_Section):
    seed: int = Field(ge=0, lt=2**32)
    train_identities: int = Field(ge=1, le=4000)
    test_identities: int = Field(ge=1, le=4000)
    cameras: int = Field(ge=2, le=9)


class Own(_Section):
    folder: str = Field(pattern=r"^[^/\\.][^/\\]*$")
    camera: str = Field(min_length=1)
    table: str = Field(pattern=r"^[^/\\.][^/\\]*$")


class VehicleID(_Section):
    test_size: Literal[800, 1600, 2400]


class Prepare(_Section):
    skip_bad: bool


class Augment(_Section):
    flip: float = Field(ge=0, le=1)
    pad: int = Field(ge=0, le=512)
    erase: float = Field(ge=0, le=1)


class Sampler(_Section):
    batch: int = Field(ge=2)
    instances: int = Field(ge=2)
    camera_aware: bool


class Model(_Section):
    pooling: Literal["avg", "gem", "max", "avg+max"]
    features: int = Field(ge=0)
    bn_group: int = Field(ge=2)


class Clustering(_Section):
    eps: float = Field(gt=0, lt=1)
    eps_schedule: Literal["expo", "linear", "step", "log", "fix"]
    min_samples: int = Field(ge=1)
    k1: int = Field(ge=2)
    k2: int = Field(ge=1)
    neighbours: Literal["exact", "ivf"]


class Memory(_Section):
    update: Literal["dynamic", "hard", "mean", "instance"]
    momentum: float = Field(ge=0, le=1)
    tau: float = Field(gt=0)


class Loss(_Section):
    temperature: float = Field(gt=0)
    smoothing: float = Field(ge=0, le=1)
    weight: float = Field(ge=0, le=1)


class Optimiser(_Section):
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    schedule: Literal["constant", "step", "cosine"]
    step_epochs: int = Field(ge=1)
    warmup_epochs: int = Field(ge=0)


class Teacher(_Section):
    decay: float = Field(ge=0, lt=1)


class Train(_Section):
    iters: int = Field(ge=1)
    eval_step: int = Field(ge=1)
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"]
    compile: bool
    deterministic: bool
    processes: Literal["auto"] | int
    checkpoint_minutes: float = Field(ge=0)


class Evaluate(_Section):
    rerank: bool


class Settings(_Section):
    """Everything that an experiment depends on, with the recipe filled in."""

    dataset: str
    backbone: str
    pretrained: str
    epochs: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)
    image: Image
    synthetic: Synthetic
    own: Own
    vehicleid: VehicleID
    prepare: Prepare
    augment: Augment
    sampler: Sampler
    model: Model
    clustering: Clustering
    memory: Memory
    loss: Loss
    optimiser: Optimiser
    teacher: Teacher
    train: Train
    evaluate: Evaluate

    def as_dict(self, *sections: str) -> dict[str, Any]:
        """The settings, or those of some sections, as nested plain values in the order of params.yaml."""
        return self.model_dump(include=set(sections) if sections else None)

    def write(self, path: Path, *sections: str) -> None:
        """Writes the settings that made a result as YAML, to lie beside it."""
        write_text(path, "".join(_yaml_lines(self.as_dict(*sections))))


def read_settings(path: Path = Path("params.yaml")) -> Settings:
    """Reads, resolves and checks `path`.

    Raises:
        UserError: one line that names the key, what was given and what is allowed.
    """
    values = _read_yaml(path)
    recipes = values.pop("recipes", None)
    if not isinstance(recipes, dict):
        raise UserError(f"{path}: there is no section `recipes`")
    dataset = values.get("dataset")
    if dataset not in recipes:
        known = ", ".join(map(str, recipes))
        raise UserError(f"{path}: dataset must be one of those with a recipe ({known}), got {dataset!r}")
    recipe = recipes[dataset] or {}
    _check_known(recipe, Settings, f"recipes.{dataset}", path)
    try:
        settings = Settings.model_validate(_fill(values, recipe, "", f"recipes.{dataset}", path))
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_explain(each) for each in error.errors())) from error
    _check_together(settings, path)
    return settings


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run this from the top folder of the project") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def _fill(values: dict[str, Any], recipe: dict[str, Any], at: str, source: str, path: Path) -> dict[str, Any]:
    filled = {}
    for key, value in values.items():
        place = f"{at}{key}"
        given = recipe.get(key) if isinstance(recipe, dict) else None
        if isinstance(value, dict):
            value = _fill(value, given or {}, f"{place}.", source, path)
        elif value == RECIPE:
            if given is None:
                raise UserError(f"{path}: {place} is left to the recipe, but {source} has no {place}")
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


def _yaml_lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:\n", *_yaml_lines(value, indent + "  ")]
        else:
            shown = str(value).lower() if isinstance(value, bool) else value
            lines.append(f"{indent}{key}: {shown}\n")
    return lines
