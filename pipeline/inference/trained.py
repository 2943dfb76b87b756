"""The network of a training, finished or interrupted, with the settings that made it."""

from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.model.checkpoint import load_checkpoint
from pipeline.model.network import Network
from pipeline.model.saved import ROLES, checked_settings, load_network, no_teacher, rebuilt

SUFFIXES = (".safetensors", ".pt")


def load_trained(path: Path, *, role: str = "student") -> tuple[Network, dict[str, Any]]:
    """One network, in eval mode, on the CPU, and its settings, nested as in params.yaml.

    Args:
        path: a model of the train stage (.safetensors), or a checkpoint of a training (.pt).
        role: one of `ROLES`.

    Raises:
        UserError: unknown role or kind of file; the file is missing, damaged, of another version, or not ours.
    """
    if role not in ROLES:
        raise UserError(f"the network must be one of {', '.join(ROLES)}, got {role!r}")
    if path.suffix not in SUFFIXES:
        raise UserError(f"a trained network must end in one of {', '.join(SUFFIXES)}, got {path}")
    if path.suffix == ".safetensors":
        return load_network(path, role=role)
    try:
        state = load_checkpoint(path)
    except UserError as error:  # it need not be a training that is going on: nothing to delete
        raise UserError(error.what) from error
    if state is None:
        raise UserError(f"{path} is missing: there is no checkpoint")
    if "settings" not in state:
        raise UserError(f"{path} is of a training that kept no settings in its checkpoints: let it end first")
    settings = checked_settings(state["settings"], path, "it")
    try:
        tensors = state["trainer"][role]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no checkpoint of this version") from error
    if tensors is None:
        raise no_teacher(path)
    return rebuilt(settings, tensors, path), settings
