"""The settings of an experiment: which there are, their types and ranges. params.py fills them from params.yaml."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.common.files import write_text


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


class Reliability(_Section):
    delta: float = Field(ge=0, lt=1)
    independent: float = Field(gt=0, le=1)


class Memory(_Section):
    update: Literal["dynamic", "hard", "mean", "instance", "hybrid"]
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
    """Everything that an experiment depends on, with recipe and method filled in."""

    dataset: str
    method: str
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
    reliability: Reliability
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


def _yaml_lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:\n", *_yaml_lines(value, indent + "  ")]
        else:
            shown = str(value).lower() if isinstance(value, bool) else value
            lines.append(f"{indent}{key}: {shown}\n")
    return lines
