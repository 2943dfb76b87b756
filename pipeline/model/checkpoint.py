"""The format of checkpoints: tensors and plain values in one file that is whole or not there.

There are two, the last and the one before it; each carries the SHA-256 of its content. Nothing in them is executed.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.transfer import copied

FORMAT = 5
FINISHED = "finished"  # beside the checkpoints of a training whose outputs are written
_MAGIC = b"reid checkpoint "
_HEADER_BYTES = len(_MAGIC) + 64 + 1


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


class CheckpointWriter:
    """Writes checkpoints to one place in a thread while the training goes on, one after another.

    Used as a context: at its end the last one is on the disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def write(self, state: Mapping[str, Any]) -> None:
        """Copies `state` as it is now, and has it written; waits for the checkpoint before it.

        Raises:
            OSError: the one before it could not be written.
        """
        copy = copied(dict(state))
        self.finish()
        self._writing = self._thread.submit(save_checkpoint, self._path, copy)

    def finish(self) -> None:
        """Waits until the last checkpoint is on the disk.

        Raises:
            OSError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.finish()
        except OSError:
            if kind is None:  # else the training has failed already, and says why
                raise
        finally:
            self._thread.shutdown()


def _header(payload: memoryview) -> bytes:
    return _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, on the CPU; None if there is no such file. Nothing in the file is executed.

    Raises:
        UserError: the file is damaged, or no checkpoint of this version.
    """
    if not path.is_file():
        return None
    try:
        payload = checkpoint_payload(path)
    except UserError as error:
        raise UserError(f"{path} is damaged and cannot be resumed from", "delete it to start afresh") from error
    if payload is None:
        raise UserError(f"{path} is no checkpoint of this version", "delete it to start afresh")
    try:
        state = torch.load(payload, map_location="cpu", weights_only=True)
    except Exception as error:  # whole, but made by somebody else: torch refuses it with whatever its parsers raise
        raise UserError(f"{path} is no checkpoint of this version", "delete it to start afresh") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of this version", "delete it to start afresh")
    return state


def checkpoint_payload(path: Path) -> io.BytesIO | None:
    """What `torch.save` wrote into a checkpoint; None if the file has not the header of one.

    Raises:
        UserError: the digest in the header is not that of the content.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if not header.startswith(_MAGIC):
            return None
        payload = file.read()
    if header != _header(memoryview(payload)):
        raise UserError(f"{path} is damaged: its SHA-256 is not the one in its first line")
    return io.BytesIO(payload)


def load_latest(path: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The last checkpoint, or the one before it where the last is damaged, which it says; None if there is none.

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
                say(f"{reason.what}; the one before it is used")
            return state
    if refused:
        raise refused[0]
    return None


def delete_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a training, and all that lies beside them."""
    shutil.rmtree(folder, ignore_errors=True)


def delete_recorded(scratch: Path, run: Mapping[str, Any]) -> None:
    """Deletes the checkpoints of a finished training once a later stage runs, which DVC starts when it has the outputs.

    Args:
        scratch: folder of the trainings.
        run: what data/model/run.json holds.
    """
    folder = scratch / str(run.get("fingerprint"))
    if (folder / FINISHED).is_file():
        delete_checkpoints(folder)
