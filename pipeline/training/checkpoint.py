"""Interrupted trainings: written after every epoch, found again by what was being trained.

A training is known by a fingerprint of everything that decides its outcome: settings, data, starting weights. Its
checkpoint lies in a folder of that name, so other settings never go on from it, and never overwrite it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import UserError
from pipeline.files import replacing

FORMAT = 1


def fingerprint(values: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of plain nested values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors and plain values to `path` in one step, on the disk before the old one goes."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, on the CPU; None if there is no such file. Nothing in the file is executed.

    Raises:
        UserError: the file is damaged, or no checkpoint of this format.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader meets damage with whatever its parsers raise
        raise UserError(f"{path} is damaged and cannot be resumed from: delete it to start afresh") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of this version: delete it to start afresh")
    return state
