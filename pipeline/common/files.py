"""Writing files so that a reader finds the old one or the new one, never a half."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError

# The disk is full, or what the user may use of it, or a file would be larger than allowed.
_DAY = 24 * 3600
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; when the block ends well, it takes the place of `path`.

    Works for a file and for a folder. When the block raises, what was written is removed and `path` is as before.
    What a killed process left there is removed by the next one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = partial_path(path)
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            # A folder that is not empty cannot be replaced in one call: step aside first, remove afterwards.
            aside = partial_path(path, ".old")
            path.rename(aside)
            temporary.rename(path)
            _remove(aside)
        else:
            temporary.replace(path)
    except OSError as error:
        if error.errno in DISK_FULL and error.filename is None:  # a write that finds no room does not say where
            error.filename = str(path)
        raise
    finally:
        _remove(temporary)


def partial_path(path: Path, suffix: str = ".partial") -> Path:
    """A temporary name beside `path`, of this process."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}{suffix}")


def remove_leftovers(path: Path) -> None:
    """Removes what processes left at their temporary names beside `path` that have ended.

    Of another machine's processes nothing is known here: theirs is removed when it is a day old.
    """
    for suffix in (".partial", ".old"):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*{suffix}"):
            node, _, process = left.name.removeprefix(f".{path.name}.").removesuffix(suffix).rpartition(".")
            if not process.isdecimal():
                continue
            with contextlib.suppress(OSError):
                ours = node in ("", platform.node())  # without a name: of a version before
                if (ours and not _is_running(int(process))) or time.time() - left.stat().st_mtime > _DAY:
                    _remove(left)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def write_text(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with a final newline to `path` in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file written by `write_json`; a UserError if there is none, or if it is damaged."""
    content = result_of_a_stage(path).read_bytes()
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON or no UTF-8; nested too deeply
        raise UserError(f"{path} is damaged, it holds no JSON: delete it and run `dvc repro`") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_of_a_stage(path: Path) -> Path:
    """`path`, or a UserError if an earlier stage has not written it."""
    if not Path(path).exists():
        raise UserError(f"{path} is missing: run `dvc repro` first")
    return Path(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
