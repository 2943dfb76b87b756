"""What an exported network says of itself: JSON in the file's metadata, one key each.

`format` is a number, raised when files of before cannot be read as they are meant; `role` is student or teacher;
`settings` are those that made the network, nested as in params.yaml; `preprocessing` is what turns a picture into the
network's input, in words that need no knowledge of this project. `precision` is how the network computes, and
`agreement` how near it came to PyTorch before it was written; files of before have neither.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.imagenet import IMAGENET_MEAN, IMAGENET_STD
from pipeline.common.text import one_line
from pipeline.inference.onnx_precision import PRECISIONS
from pipeline.model.saved import ROLES, checked_settings, parsed_json

FORMAT = 1
_SHOWN = 40  # characters of what another program wrote
_EXACT = "fp32"  # of a file that does not tell its precision


@dataclass(frozen=True)
class Agreement:
    """How near an exported network is to the one that it was made of, in PyTorch in float32.

    Attributes:
        difference: the largest of a coordinate of an embedding, whose length is 1.
        cosine: the smallest of an embedding with the one of PyTorch.
        mean_ap: of the exported network on the test half, a share in [0, 1]; None where it was not scored.
        pytorch_mean_ap: of the one that it was made of, likewise.
    """

    difference: float
    cosine: float
    mean_ap: float | None = None
    pytorch_mean_ap: float | None = None

    @property
    def loss(self) -> float | None:
        """Of mAP, in points; below 0 where the exported network is the better one."""
        if self.mean_ap is None or self.pytorch_mean_ap is None:
            return None
        return 100 * (self.pytorch_mean_ap - self.mean_ap)


# Name in a file -> attribute of `Agreement`, its smallest and its largest value.
_AGREEMENT = {
    "difference": ("difference", 0, 2),
    "cosine": ("cosine", -1, 1),
    "mAP": ("mean_ap", 0, 1),
    "pytorch_mAP": ("pytorch_mean_ap", 0, 1),
}


@dataclass(frozen=True)
class Metadata:
    """Of one exported network.

    Attributes:
        role: student or teacher.
        settings: that made it, nested as in params.yaml.
        precision: one of `PRECISIONS`.
        agreement: with PyTorch; None where it is not known.
    """

    role: str
    settings: dict[str, Any]
    precision: str = _EXACT
    agreement: Agreement | None = None

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
            "precision": self.precision,
        }
        if self.agreement is not None:
            values["agreement"] = {key: getattr(self.agreement, name) for key, (name, _, _) in _AGREEMENT.items()}
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
        keys = ("format", "role", "settings", "preprocessing", "precision", "agreement")
        values = {key: parsed_json(texts[key]) for key in keys if key in texts}
    except ValueError as error:
        raise UserError(f"{path} is damaged: its metadata cannot be read") from error
    if values["format"] != FORMAT:
        given = one_line(str(values["format"])[:_SHOWN])
        raise UserError(f"{path} is of format {given}, where {FORMAT} can be read: export it again")
    if values["role"] not in ROLES or not isinstance(values["preprocessing"], dict):
        raise UserError(f"{path} is damaged: its metadata name no network, or no preprocessing")
    precision = values.get("precision", _EXACT)
    if precision not in tuple(PRECISIONS):
        given = one_line(str(precision)[:_SHOWN])
        raise UserError(f"{path} has the precision {given}, where {', '.join(PRECISIONS)} can be read: export it again")
    agreement = _agreement(values["agreement"], path) if "agreement" in values else None
    settings = checked_settings(values["settings"], path, "its metadata")
    found = Metadata(values["role"], settings, precision, agreement)
    expected = preprocessing(*found.size)
    different = [key for key in expected if values["preprocessing"].get(key) != expected[key]]
    if different:
        raise UserError(f"{path} prepares its images in another way than this version ({', '.join(different)})")
    return found


def _agreement(values: Any, path: Path) -> Agreement:
    if not isinstance(values, dict) or values.keys() != _AGREEMENT.keys():
        raise UserError(f"{path} is damaged: the agreement in its metadata does not hold {', '.join(_AGREEMENT)}")
    found: dict[str, Any] = {}
    for key, (name, least, most) in _AGREEMENT.items():
        value = values[key]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and least <= value <= most) and not (value is None and key.endswith("mAP")):
            raise UserError(f"{path} is damaged: {key} in its metadata is no number from {least} to {most}")
        found[name] = value if value is None else float(value)
    return Agreement(**found)
