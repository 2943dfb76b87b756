"""What an exported network says of itself: JSON in the file's metadata, one key each.

`format` is a number, raised when files of before cannot be read as they are meant; `role` is student or teacher;
`settings` are those that made the network, nested as in params.yaml; `preprocessing` is what turns a picture into the
network's input, in words that need no knowledge of this project.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.datasets.augment import IMAGENET_MEAN, IMAGENET_STD
from pipeline.model.saved import ROLES, checked_settings, parsed_json

FORMAT = 1
_SHOWN = 40  # characters of what another program wrote


@dataclass(frozen=True)
class Metadata:
    """Of one exported network.

    Attributes:
        role: student or teacher.
        settings: that made it, nested as in params.yaml.
    """

    role: str
    settings: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """H and W of its input."""
        return self.settings["image"]["height"], self.settings["image"]["width"]

    def as_text(self) -> dict[str, str]:
        """As it is in a file."""
        values = {
            "format": FORMAT,
            "role": self.role,
            "settings": self.settings,
            "preprocessing": preprocessing(*self.size),
        }
        return {key: json.dumps(value) for key, value in values.items()}


def preprocessing(height: int, width: int) -> dict[str, Any]:
    """Picture -> input, in the order in which it is done."""
    return {
        "colour_order": "RGB",
        "height": height,
        "width": width,
        "interpolation": "bicubic, antialiased (Pillow)",
        "scale": 1 / 255,
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "layout": "NCHW",
    }


def read_metadata(texts: Mapping[str, str], path: Path) -> Metadata:
    """What `Metadata.as_text` gave.

    Raises:
        UserError: another program wrote the file `path`, or another version of this one.
    """
    missing = [key for key in ("format", "role", "settings", "preprocessing") if key not in texts]
    if missing:
        raise UserError(f"{path} was not written by `python -m stages.export`: its metadata lack {', '.join(missing)}")
    try:
        values = {key: parsed_json(texts[key]) for key in ("format", "role", "settings", "preprocessing")}
    except ValueError as error:
        raise UserError(f"{path} is damaged: its metadata cannot be read") from error
    if values["format"] != FORMAT:
        given = one_line(str(values["format"])[:_SHOWN])
        raise UserError(f"{path} is of format {given}, where {FORMAT} can be read: export it again")
    if values["role"] not in ROLES or not isinstance(values["preprocessing"], dict):
        raise UserError(f"{path} is damaged: its metadata name no network, or no preprocessing")
    found = Metadata(values["role"], checked_settings(values["settings"], path, "its metadata"))
    expected = preprocessing(*found.size)
    different = [key for key in expected if values["preprocessing"].get(key) != expected[key]]
    if different:
        raise UserError(f"{path} prepares its images in another way than this version ({', '.join(different)})")
    return found
