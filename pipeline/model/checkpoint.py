"""Interrupted trainings: written between two steps, found again by what was being trained.

A training is known by a fingerprint of everything that decides its outcome: settings, data, starting weights. Its
checkpoints lie in a folder of that name, so other settings never go on from them, and never overwrite them. There are
two, the last and the one before it; each carries the SHA-256 of its content.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, replacing, write_json
from pipeline.common.flatten import flatten
from pipeline.common.locks import locked

FORMAT = 4
FACTS = "facts.json"
_NUM_CHANGES_SHOWN = 4
_MAGIC = b"reid checkpoint "
_HEADER_BYTES = len(_MAGIC) + 64 + 1


def fingerprint(values: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of plain nested values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def before(path: Path) -> Path:
    """Where the checkpoint before the one at `path` lies."""
    return path.with_name(f"{path.stem}_before{path.suffix}")


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors and plain values to `path`; what lay there becomes the one before.

    It is on the disk, whole, before another is touched.

    Raises:
        OSError: the disk is full or read-only; the checkpoints that were there are as they were.
    """
    content = io.BytesIO()
    torch.save({"format": FORMAT, **state}, content)
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.write(_header(content.getbuffer()))
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            path.replace(before(path))


def _header(payload: memoryview) -> bytes:
    return _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, on the CPU; None if there is no such file. Nothing in the file is executed.

    Raises:
        UserError: the file is damaged, or no checkpoint of this version.
    """
    if not path.is_file():
        return None
    content = path.read_bytes()
    header, payload = content[:_HEADER_BYTES], memoryview(content)[_HEADER_BYTES:]
    if not header.startswith(_MAGIC):
        raise UserError(f"{path} is no checkpoint of this version: delete it to start afresh")
    if header != _header(payload):
        raise UserError(f"{path} is damaged and cannot be resumed from: delete it to start afresh")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # whole, but made by somebody else: torch refuses it with whatever its parsers raise
        raise UserError(f"{path} is no checkpoint of this version: delete it to start afresh") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of this version: delete it to start afresh")
    return state


def load_latest(path: Path, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """The last checkpoint, or the one before it where the last is damaged, which is told; None if there is none.

    Raises:
        UserError: none of them can be read.
    """
    refused: list[UserError] = []
    for candidate in (path, before(path)):
        try:
            state = load_checkpoint(candidate)
        except UserError as error:
            refused.append(error)
            continue
        if state is not None:
            for reason in refused:
                tell(f"{str(reason).split(':')[0]}; the one before it is used")
            return state
    if refused:
        raise refused[0]
    return None


def other_training(folder: Path, facts: Mapping[str, Any]) -> str | None:
    """A sentence about the latest interrupted training beside `folder`, and what of its facts differs; None if none.

    Leaves `facts` in `folder` for the next one to compare.

    Args:
        folder: of this training, named by the fingerprint of `facts`.
        facts: plain nested values.
    """
    write_json(folder / FACTS, facts)
    others = [path for path in folder.parent.glob(f"*/{FACTS}") if path.parent != folder]
    others = [path for path in others if any(path.parent.glob("checkpoint*.pt"))]
    if not others:
        return None
    latest = max(others, key=lambda path: path.stat().st_mtime)
    old, new = flatten(read_json(latest)), flatten(facts)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    changes = ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in changed[:_NUM_CHANGES_SHOWN])
    more = ", ..." if len(changed) > _NUM_CHANGES_SHOWN else ""
    return f"this is not the training that was interrupted in {latest.parent} ({changes}{more}): starting afresh"


def held(folder: Path) -> AbstractContextManager[None]:
    """Keeps `folder` for this process as long as the block lasts; a process that dies lets go of it.

    Raises:
        UserError: another process trains there.
    """
    taken = f"{folder}: the same training is running already; wait for it, or stop it and start this again"
    return locked(folder / "lock", taken=taken)
