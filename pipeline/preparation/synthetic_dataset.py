"""The embedded synthetic data set on disk: generated once, and again when its settings or the generator change."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pipeline.preparation.synthetic as synthetic
from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json
from pipeline.preparation.links import CORRECTIONS
from pipeline.preparation.synthetic import write_synthetic

MADE_BY = "made_by.json"


def ensure_synthetic(
    folder: Path,
    *,
    seed: int,
    train_identities: int,
    test_identities: int,
    cameras: int,
    camera_strength: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Generates the data set in `folder`, unless it is there as these settings and this code make it.

    A file of corrections that lies there stays.

    Args:
        folder: in the Market-1501 layout afterwards.
        seed, train_identities, test_identities, cameras, camera_strength, progress: see `write_synthetic`.

    Raises:
        UserError: `folder` holds something that was not generated here, or see `write_synthetic`.
    """
    counts = {"train_identities": train_identities, "test_identities": test_identities, "cameras": cameras}
    wanted = {"seed": seed, **counts, "camera_strength": camera_strength, "drawing": drawing_version()}
    description = folder / MADE_BY
    if description.is_file():
        if read_json(description) == wanted:
            return
    elif folder.exists() and any(file.name != CORRECTIONS for file in folder.iterdir()):
        raise UserError(f"{folder} holds files that this project did not generate: move them away")
    write_synthetic(
        folder, seed=seed, **counts, camera_strength=camera_strength, keep=(CORRECTIONS,), progress=progress
    )
    write_json(description, wanted)


def drawing_version() -> str:
    """Changes with the code that draws."""
    sources = sorted(Path(synthetic.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
