"""A trained model on disk: student and teacher in one .safetensors file, with the settings that made them.

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
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.files import replacing
from pipeline.model.network import Network, build

MODEL_FILE, BEST_FILE = "model.safetensors", "best.safetensors"
ROLES = ("student", "teacher")
# What a network is built from, and what its images are like.
REQUIRED = ("backbone", "model", "image")


def save_model(path: Path, student: nn.Module, teacher: nn.Module, *, settings: Mapping[str, Any]) -> None:
    """Writes both networks, and `settings` (those of `REQUIRED` among them) in the header, in one step."""
    _write(path, {**_tensors("student", student), **_tensors("teacher", teacher)}, settings)


def save_best(
    path: Path,
    student: nn.Module,
    teacher: nn.Module,
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
        before, tensors = _read(path, tensors=True)
        best = before["best"]
    for role, network in zip(ROLES, (student, teacher), strict=True):
        if role not in best or mean_aps[role] > best[role]["mAP"]:
            best[role] = {"mAP": mean_aps[role], "epoch": epoch}
            tensors |= _tensors(role, network)
    _write(path, tensors, {**settings, "best": best})


def _tensors(role: str, network: nn.Module) -> dict[str, Tensor]:
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
    return _read(path, tensors=False)[0]


def load_model(path: Path) -> tuple[Network, Network, dict[str, Any]]:
    """Student, teacher (both in eval mode, on the CPU) and the settings that `save_model` wrote.

    Raises:
        UserError: as `model_settings`, or the tensors do not fit those settings.
    """
    settings, tensors = _read(path, tensors=True)
    networks = []
    for role in ROLES:
        network = build(settings["backbone"], **settings["model"])
        own = {key.removeprefix(f"{role}."): value for key, value in tensors.items() if key.startswith(f"{role}.")}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise UserError(f"{path} does not fit its own settings: {str(error).splitlines()[-1].strip()}") from error
        networks.append(network.eval())
    return networks[0], networks[1], settings


def _read(path: Path, *, tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro train` first")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            content = {key: file.get_tensor(key) for key in file.keys()} if tensors else {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return _settings(header, path), content


def _settings(header: Mapping[str, str], path: Path) -> dict[str, Any]:
    if "settings" not in header:
        raise UserError(f"{path} was not written by the train stage: its header holds no settings")
    try:
        settings = json.loads(header["settings"])
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged: the settings in its header cannot be read") from error
    missing = [key for key in REQUIRED if not isinstance(settings, dict) or key not in settings]
    if missing:
        raise UserError(f"{path} is not of this version: the settings in its header lack {', '.join(missing)}")
    return settings
