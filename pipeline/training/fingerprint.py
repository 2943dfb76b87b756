"""How an interrupted training is found again: by a fingerprint of everything that decides its outcome.

That is settings, data and starting weights. The checkpoints lie in a folder of that name, so other settings never go on
from them, and never overwrite them.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pipeline.common.files import read_json, write_json
from pipeline.common.flatten import flatten
from pipeline.common.locks import locked
from pipeline.model.checkpoint import FINISHED

FACTS = "facts.json"
_TOLD = "told"  # beside the checkpoints of an interrupted training of which the user knows
_NUM_CHANGES_SHOWN = 4


def fingerprint(values: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of plain nested values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def other_training(folder: Path, facts: Mapping[str, Any]) -> str | None:
    """A sentence about the latest interrupted training beside `folder`, what of its facts differs and how to drop it.

    None if there is none, or none that was not told of already: once is enough, until it is interrupted again. Leaves
    `facts` in `folder` for the next one to compare.

    Args:
        folder: of this training, named by the fingerprint of `facts`.
        facts: plain nested values.
    """
    write_json(folder / FACTS, facts)
    (folder / _TOLD).unlink(missing_ok=True)
    others = [path for path in folder.parent.glob(f"*/{FACTS}") if path.parent != folder]
    others = [path for path in others if any(path.parent.glob("checkpoint*.pt"))]
    others = [path for path in others if not any((path.parent / name).exists() for name in (FINISHED, _TOLD))]
    if not others:
        return None
    for path in others:
        (path.parent / _TOLD).touch()
    latest = max(others, key=lambda path: path.stat().st_mtime)
    old, new = flatten(read_json(latest)), flatten(facts)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    changes = ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in changed[:_NUM_CHANGES_SHOWN])
    more = ", ..." if len(changed) > _NUM_CHANGES_SHOWN else ""
    return (
        f"this is not the training that was interrupted in {latest.parent} ({changes}{more}): starting afresh; the "
        f"interrupted one goes on when these are set back, and rm -r {shlex.quote(str(latest.parent))} drops it"
    )


def held(folder: Path) -> AbstractContextManager[None]:
    """Keeps `folder` for this process as long as the block lasts; a process that dies lets go of it.

    Raises:
        UserError: another process trains there.
    """
    taken = f"{folder}: the same training is running already; wait for it, or stop it and start this again"
    return locked(folder / "lock", taken=taken)
