"""In which precision a network computes. What comes out of it, and all else, stays float32.

`fp32` is float32 everywhere. `tf32` lets a GPU's tensor cores round the factors of products to 10 bits of mantissa.
`bf16` and `fp16` are torch's autocast; fp16 has few exponents, so that gradients are scaled up on the way back.

Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.common.device import has_bf16
from pipeline.common.errors import UserError
from pipeline.common.precision_names import PRECISIONS, PrecisionName

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def precision_on(device: torch.device, wanted: Literal["auto"] | PrecisionName) -> PrecisionName:
    """The precision of the steps of a training on a device.

    `auto` is bf16 on a GPU that computes in it, fp16 on an older one, fp32 on a CPU. `tf32` is fp32 where there is
    none, as the more exact of the two.
    """
    if wanted == "auto":
        return "fp32" if device.type != "cuda" else "bf16" if has_bf16(device) else "fp16"
    return "fp32" if wanted == "tf32" and not has_bf16(device) else wanted


@dataclass(frozen=True)
class Precision:
    """How networks compute on a device.

    Attributes:
        name: one of `PRECISIONS`.
        device: where they are.
    """

    name: str
    device: torch.device

    def __post_init__(self) -> None:
        if self.name not in PRECISIONS:
            raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.name!r}")

    @property
    def half(self) -> torch.dtype | None:
        """The type of 16 bits that products are computed in; None where it is float32."""
        return _AUTOCAST.get(self.name)

    @property
    def of_extraction(self) -> "Precision":
        """For embeddings that are clustered or scored between epochs: 16 bits would move neighbours.

        tf32 where the steps use it or less, and the device has it; else fp32.
        """
        return self if self.half is None else Precision(precision_on(self.device, "tf32"), self.device)

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Around a forward pass of a network, and around nothing else."""
        with self.products(), torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            yield

    @contextmanager
    def products(self) -> Iterator[None]:
        """Around a backward pass: how a GPU multiplies float32."""
        places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
        before = [place.fp32_precision for place in places]
        rounded: Literal["ieee", "tf32"] = "ieee" if self.name == "fp32" else "tf32"
        try:
            for place in places:
                place.fp32_precision = rounded
            yield
        finally:
            for place, value in zip(places, before, strict=True):
                place.fp32_precision = value

    def scaler(self) -> torch.amp.GradScaler:
        """Scales gradients where the precision needs it, and does nothing where it does not."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")
