"""Schema of all settings: names, types and valid ranges. `load.py` fills them from params.yaml.

A range is checked here and nowhere else: what receives a value further inside may rely on it.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny

from pipeline.common.precision_names import PrecisionName
from pipeline.common.yaml_file import write_mapping

Pooling = Literal["avg", "gem", "max", "avg+max", "token", "clip"]
EpsSchedule = Literal["expo", "linear", "step", "log", "fix"]
Neighbours = Literal["exact", "approximate"]
ClusterUpdate = Literal["dynamic", "hard", "mean", "instance"]  # of a memory with one row per cluster
LearningRateSchedule = Literal["constant", "step", "milestones", "cosine"]
OptimizerName = Literal["adam", "adamw", "sgd"]
Distance = Literal["jaccard", "camera_jaccard"]
CameraWeight = Literal["none", "batch", "cluster"]
Normalization = Literal["backbone", "imagenet", "luperson"]

OWN_IMAGES = ("folder", "csv")  # data sets whose images are the user's own
UNION = "union"  # the data set that is several: those of `union.datasets`
# What `prepare` reads: the settings that decide what it writes.
DATA_SECTIONS = ("dataset", "image", "synthetic", "own", "vehicleid", "wildlife", "union", "prepare")
SIDES = (8, 4096)  # of an image: least and most pixels

# Settings of earlier versions -> what they are called now.
RENAMED = {"optimiser": "optimizer", "reliability": "methods.spcl"}


class Section(BaseModel):
    """Settings that belong together; frozen, without unknown keys, without conversions between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Image(Section):
    height: int = Field(ge=SIDES[0], le=SIDES[1])
    width: int = Field(ge=SIDES[0], le=SIDES[1])


class Synthetic(Section):
    seed: int = Field(ge=0, lt=2**32)
    train_identities: int = Field(ge=1, le=4000)
    test_identities: int = Field(ge=1, le=4000)
    cameras: int = Field(ge=2, le=9)
    camera_strength: float = Field(default=1.0, ge=0, le=5)
    tracklets: bool = False


def _folder_of_images(folder: str) -> str:
    if "\\" in folder or any(part in ("", ".", "..") for part in folder.removeprefix("/").rstrip("/").split("/")):
        raise ValueError("a folder below data/raw/, such as mine or mine/crops, with / between folders and without ..")
    return folder.rstrip("/")


def _file_name(name: str) -> str:
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise ValueError("the name of a file in own.folder, such as images.csv")
    return name


class Own(Section):
    folder: Annotated[str, AfterValidator(_folder_of_images)]
    camera: str = Field(min_length=1)
    tracklet: str = Field(default="none", min_length=1)
    table: Annotated[str, AfterValidator(_file_name)]


class VehicleID(Section):
    test_size: Literal[800, 1600, 2400]


class Wildlife(Section):
    datasets: list[str] = []
    species: list[str] = []
    camera: str = Field(default="none", min_length=1)


class Union(Section):
    datasets: list[str] = []


class Prepare(Section):
    skip_bad: bool
    follow_links: bool


class Augment(Section):
    flip: float = Field(ge=0, le=1)
    pad: int = Field(ge=0, le=512)
    erase: float = Field(ge=0, le=1)


class Sampler(Section):
    batch: int = Field(ge=2)
    instances: int = Field(ge=2)
    camera_aware: bool


class Model(Section):
    pooling: Pooling
    features: int = Field(ge=0)
    bn_group: int = Field(ge=2)
    freeze: list[str] = []
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    normalize: Normalization = "backbone"


class Clustering(Section):
    eps: float = Field(gt=0, lt=1)
    eps_schedule: EpsSchedule
    min_samples: int = Field(ge=1)
    k1: int = Field(ge=2)
    k2: int = Field(ge=1)
    neighbours: Neighbours
    distance: Distance = "jaccard"
    k_intra: int = Field(default=5, ge=1)
    k_inter: int = Field(default=20, ge=1)
    k2_intra: int = Field(default=2, ge=1)
    k2_inter: int = Field(default=4, ge=0)
    k2_first: int = Field(default=3, ge=1)


class Memory(Section):
    update: ClusterUpdate | Literal["hybrid"]
    momentum: float = Field(ge=0, le=1)
    tau: float = Field(gt=0)


class Loss(Section):
    temperature: float = Field(gt=0)
    smoothing: float = Field(ge=0, le=1)
    weight: float = Field(ge=0, le=1)
    camera_weight: CameraWeight = "none"
    camera_weight_after: int = Field(default=5, ge=0)
    proxies: float = Field(default=0.0, ge=0)
    proxies_after: int = Field(default=5, ge=0)


def _rising(epochs: list[int]) -> list[int]:
    if not epochs or epochs[0] < 1 or any(later <= earlier for earlier, later in pairwise(epochs)):
        raise ValueError("epochs from 1 on that rise, such as [20, 40]")
    return epochs


class Optimizer(Section):
    name: OptimizerName = "adam"
    lr: float = Field(gt=0, le=100)
    weight_decay: float = Field(ge=0, le=100)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: LearningRateSchedule
    step_epochs: int = Field(ge=1)
    milestones: Annotated[list[int], AfterValidator(_rising)] = [20, 40]
    warmup_epochs: int = Field(ge=0)
    warmup_start: float = Field(default=0.1, gt=0, le=1)


class Teacher(Section):
    decay: float = Field(ge=0, lt=1)


class Steps(Section):
    """What decides the steps of a training."""

    iters: int = Field(ge=1)
    eval_step: int = Field(ge=1)
    precision: Literal["auto"] | PrecisionName
    compile: bool
    deterministic: bool


class Train(Steps):
    """Beside the steps: what has no part in the result."""

    cuda_graphs: bool
    processes: Literal["auto"] | int
    checkpoint_minutes: float = Field(ge=0)


class Evaluate(Section):
    rerank: Literal[False, True, "jaccard", "camera_jaccard"]

    @property
    def reranking(self) -> Distance | None:
        """The distance to re-rank by, None for no re-ranking; `true` has always been `jaccard`."""
        return ("jaccard" if self.rerank is True else self.rerank) or None


class MethodSettings(Section):
    """Settings of one method alone, below `methods.<method>`; a method that has some derives its own."""


# Words of `pretrained`; anything else is a file.
PublishedWeights = Literal["imagenet", "imagenet_v2"]
DRAWN_WEIGHTS = "synthetic"
NO_WEIGHTS = "none"
PRETRAINED_WORDS = (*get_args(PublishedWeights), DRAWN_WEIGHTS, NO_WEIGHTS)


class TrainingSettings(Section):
    """Every setting that decides the outcome of a training, beside its images and its starting weights.

    These are what the fingerprint of a training is made of, what a model file carries, and what the stage `train`
    declares in dvc.yaml.
    """

    dataset: str
    method: str
    backbone: str
    epochs: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)
    image: Image
    augment: Augment
    sampler: Sampler
    model: Model
    clustering: Clustering
    memory: Memory
    loss: Loss
    optimizer: Optimizer
    teacher: Teacher
    train: Steps
    methods: dict[str, SerializeAsAny[MethodSettings]] = Field(default_factory=dict)  # those of `method` alone

    @property
    def has_teacher(self) -> bool:
        """Where the soft loss has no weight there is no teacher."""
        return self.loss.weight > 0

    def as_dict(self, sections: Iterable[str] | None = None) -> dict[str, Any]:
        """The settings, or those of some sections, as nested plain values."""
        return self.model_dump(include=None if sections is None else set(sections))

    def write(self, path: Path, sections: Iterable[str] | None = None) -> None:
        """Writes the settings that made a result as YAML, to lie beside it."""
        write_mapping(path, self.as_dict(sections))


class SourceSettings(Section):
    """Where an experiment's images and weights come from."""

    dataset: str
    recipe: str = "dataset"
    pretrained: str
    synthetic: Synthetic
    own: Own
    vehicleid: VehicleID
    wildlife: Wildlife = Wildlife()
    union: Union = Union()
    prepare: Prepare


def data_name(dataset: str, folder: str) -> str:
    """What people call a data set: of own images, the name of their folder (`own.folder`)."""
    return folder.rstrip("/").rpartition("/")[2] if dataset in OWN_IMAGES else dataset


class Settings(SourceSettings, TrainingSettings):
    """Everything that an experiment depends on, with recipe and method filled in."""

    train: Train
    evaluate: Evaluate

    @property
    def data_name(self) -> str:
        """What people call the data set: of own images, the name of their folder; of a union, those of its members."""
        return "+".join(self.union.datasets) if self.dataset == UNION else data_name(self.dataset, self.own.folder)

    @property
    def data_folder(self) -> str:
        """Where the data set lies below the folder of raw data."""
        return self.own.folder if self.dataset in OWN_IMAGES else self.dataset

    @property
    def num_groups(self) -> int:
        """BatchNorm groups of a global batch: the most processes that can share it."""
        return self.sampler.batch // self.model.bn_group

    def of_training(self, *, precision: PrecisionName) -> TrainingSettings:
        """What decides the training, in the precision that the setting stands for on this machine."""
        values = self.as_dict(TrainingSettings.model_fields)
        steps = {key: values["train"][key] for key in Steps.model_fields} | {"precision": precision}
        return TrainingSettings.model_validate({**values, "train": steps, "methods": self.methods})
