"""A trained model on disk: student and, where there is one, teacher in one .safetensors file, with their settings.

Keys are `student.<key of the network>` and `teacher.<key of the network>`; the settings are JSON in the file's header,
so a model is never rebuilt with others. Such a file is also valid as `pretrained`.

Beside the last networks there is a file of the best ones of the run, each of the evaluation at which it scored highest;
its settings say under `best` which that was.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.text import first_line, one_line
from pipeline.config.schema import RENAMED, Image
from pipeline.model.network import Network, build

MODEL_FILE, BEST_FILE = paths.TRAINED.name, "best.safetensors"
ROLES = ("student", "teacher")
DATA_NAME = "data_name"  # what people call the data set, among the settings of a file; files of before have none
# What a network is built from, and what its images are like.
REQUIRED = ("backbone", "model", "image")


def save_model(path: Path, student: nn.Module, teacher: nn.Module | None, *, settings: Mapping[str, Any]) -> None:
    """Writes the networks, and `settings` (those of `REQUIRED` among them) in the header, in one step."""
    _write(path, {**_tensors("student", student), **_tensors("teacher", teacher)}, settings)


def save_best(
    path: Path,
    student: nn.Module,
    teacher: nn.Module | None,
    *,
    mean_aps: Mapping[str, float],
    epoch: int,
    settings: Mapping[str, Any],
) -> None:
    """As `save_model`, but a network takes the place of the one in the file only where it scores higher.

    Args:
        path: of the file; there may be none yet.
        student: as it is now.
        teacher: as it is now.
        mean_aps: of this evaluation, by role.
        epoch: of this evaluation, from 1.
        settings: as in `save_model`.
    """
    best: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    if path.is_file():
        before, tensors = _read(path, ROLES)
        best = before["best"]
    for role, network in zip(ROLES, (student, teacher), strict=True):
        if network is not None and (role not in best or mean_aps[role] > best[role]["mAP"]):
            best[role] = {"mAP": mean_aps[role], "epoch": epoch}
            tensors |= _tensors(role, network)
    _write(path, tensors, {**settings, "best": best})


def _tensors(role: str, network: nn.Module | None) -> dict[str, Tensor]:
    if network is None:
        return {}
    return {f"{role}.{key}": tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}


def _write(path: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        # Not save_file, which makes a file that nobody else may read.
        temporary.write_bytes(safetensors.torch.save(dict(tensors), metadata={"settings": json.dumps(settings)}))


def model_settings(path: Path) -> dict[str, Any]:
    """The settings in the header of a file that `save_model` wrote.

    Raises:
        UserError: there is no such file, it is damaged, or it is no model of this project.
    """
    return _read(path, ())[0]


def data_name_of(settings: Mapping[str, Any]) -> str:
    """What people call the data set that the settings of a file name."""
    return str(settings.get(DATA_NAME, settings.get("dataset", "unknown images")))


def load_model(path: Path) -> tuple[Network, Network | None, dict[str, Any]]:
    """Student, teacher if there is one (in eval mode, on the CPU) and the settings that `save_model` wrote.

    Raises:
        UserError: as `model_settings`, or the tensors do not fit those settings.
    """
    settings, tensors = _read(path, ROLES)
    student = rebuilt(settings, _own(tensors, "student"), path)
    teacher = rebuilt(settings, own, path) if (own := _own(tensors, "teacher")) else None
    return student, teacher, settings


def load_network(path: Path, *, role: str) -> tuple[Network, dict[str, Any]]:
    """One of the networks that `load_model` loads, with their settings.

    Raises:
        UserError: as `load_model`, or there is no such network.
    """
    assert role in ROLES
    settings, tensors = _read(path, (role,))
    if not tensors and role == "teacher":
        raise no_teacher(path)
    return rebuilt(settings, _own(tensors, role), path), settings


def no_teacher(path: Path) -> UserError:
    """What to tell whoever asks for a teacher that the training did not have."""
    return UserError(f"{path} holds no teacher: it was trained without one (loss.weight 0), take the student")


def build_of(settings: Mapping[str, Any], *, weights: Path | None = None) -> Network:
    """The network of `settings` (those of `REQUIRED` among them), with random weights or those of a file.

    Raises:
        UserError: as `network.build`.
    """
    size = (settings["image"]["height"], settings["image"]["width"])
    return build(settings["backbone"], **settings["model"], weights=weights, image_size=size)


def rebuilt(settings: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> Network:
    """The network of `settings` with the values of `tensors`, which the file `path` holds: in eval mode, on the CPU.

    Raises:
        UserError: they do not fit together.
    """
    linear = tensors.get("embedding.weight")
    try:
        features, width = settings["model"].get("features", 0), 0 if linear is None else len(linear)
        if features != width:  # found before memory is taken for it
            raise ValueError(f"size mismatch, an embedding of {features} is in them and one of {width} in the file")
        network = build_of(settings)
        network.load_state_dict(tensors)
    except UserError as error:
        raise UserError(f"{path}: {first_line(error)}") from error
    except (RuntimeError, TypeError, ValueError) as error:
        reason = one_line((str(error).splitlines() or [type(error).__name__])[-1].strip())
        raise UserError(f"{path} does not fit its own settings: {reason}") from error
    return network.eval()


def checked_settings(settings: Any, path: Path, place: str) -> dict[str, Any]:
    """`settings`, which the file `path` holds in `place`, if they are enough to rebuild a network.

    Raises:
        UserError: they are of an earlier version, or lack one of `REQUIRED`, or it cannot be used.
    """
    for old, new in RENAMED.items():
        if isinstance(settings, dict) and old in settings:
            raise UserError(f"{path} is of an earlier version: {old}, in {place}, is called {new} now; train it again")
    missing = [key for key in REQUIRED if not isinstance(settings, dict) or key not in settings]
    if missing:
        raise UserError(f"{path} is not of this version: the settings in {place} lack {', '.join(missing)}")
    if not isinstance(settings["backbone"], str):
        raise UserError(f"{path} is damaged: the backbone in {place} is no name")
    if not isinstance(settings["model"], dict):
        raise UserError(f"{path} is damaged: the settings `model` in {place} are no table")
    try:
        Image.model_validate(settings["image"])
    except ValidationError as error:
        raise UserError(f"{path} is damaged: the size of the images in {place} is no height and width") from error
    return settings


def parsed_json(text: str) -> Any:
    """JSON of a file that anybody may have written.

    Raises:
        ValueError: it is none, or nested too deep to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _own(tensors: Mapping[str, Tensor], role: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{role}."): value for key, value in tensors.items() if key.startswith(f"{role}.")}


def _read(path: Path, roles: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro train` first")
    with path.open("rb"):  # a file that may not be read says so here, and not as a damaged one
        pass
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            wanted = [key for key in file.keys() if key.split(".")[0] in roles]  # noqa: SIM118
            content = {key: file.get_tensor(key) for key in wanted}
    except Exception as error:  # it meets damage with whatever its parsers raise
        raise UserError(f"{path} is damaged: {first_line(error)}") from error
    return _settings(header, path), content


def _settings(header: Mapping[str, str], path: Path) -> dict[str, Any]:
    if "settings" not in header:
        raise UserError(f"{path} was not written by the train stage: its header holds no settings")
    try:
        settings = parsed_json(header["settings"])
    except ValueError as error:
        raise UserError(f"{path} is damaged: the settings in its header cannot be read") from error
    return checked_settings(settings, path, "its header")
