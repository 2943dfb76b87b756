"""The precisions that networks may compute in (`precision.py`), by name; apart from it, as it takes torch a second."""

from typing import Literal, get_args

PrecisionName = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[PrecisionName, ...] = get_args(PrecisionName)
