"""The weights that a training starts from, as `placing_weights.py` has put them in a folder."""

from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.files import read_json

DESCRIPTION = "weights.json"


def starting_weights(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The file of weights that `place_starting_weights` left in `folder` (None: random), and its description.

    Raises:
        UserError: there is none.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro pretrained` first")
    description = read_json(path)
    return (folder / description["file"] if description["file"] else None), description
