"""The precisions of an exported network, and how a network comes into each.

`fp32` is the network as it is. `fp16` holds and multiplies the weights of the trunk and of the linear embedding in
float16. `int8` does so in 8 bits: ONNX Runtime's static quantisation (QuantizeLinear and DequantizeLinear nodes), a
scale for each channel of the weights, and for activations the range that they take on calibration images. In all three
the input, pooling, neck, L2 normalisation and the output are float32. The linear embedding need not be: in 8 bits it
cost no mAP that could be told from chance.

N: images · B: batch · H, W: pixels.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018.
"""

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.datasets.augment import normalise
from pipeline.model.network import Network

_BATCH = 16  # calibration images at a time
# Products, and what follows them, so that 8-bit numbers need not become float32 in between. Not the sums of residual
# branches: in 8 bits they made nothing clearly faster, and took the cosine of a ViT from 0.998 to 0.987.
_QUANTISED = ["Conv", "Gemm", "MatMul", "Relu", "MaxPool"]


@dataclass(frozen=True)
class Limits:
    """How far an exported network may be from the one that it was made of.

    Attributes:
        difference: largest, of a coordinate of an embedding. By default as large as embeddings of length 1 can have it.
        loss: largest, of mAP, in points; None = not limited.
        cosine: smallest, of an embedding with the one of PyTorch; counts where no mAP is known.
    """

    difference: float = 2
    loss: float | None = None
    cosine: float = -1


# What may be asked of an export, and what it must keep to. Trained networks, on drawn people, lost at most 0.01 points
# in fp16 and 0.1 in int8, with cosines of at least 0.9999 and 0.995.
PRECISIONS = {
    "fp32": Limits(difference=1e-4),
    "fp16": Limits(loss=0.5, cosine=0.999),
    "int8": Limits(loss=2, cosine=0.98),
}


class _InHalf(nn.Module):
    """A module with weights and computation in float16, its input and output float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.half()

    def forward(self, values: Tensor) -> Tensor:
        return self.module(values.half()).float()


def halved(network: Network) -> Network:
    """A copy with trunk and linear embedding in float16, (B, 3, H, W) float32 -> (B, D) float32."""
    half = copy.deepcopy(network)
    half.backbone = _InHalf(half.backbone)  # type: ignore[assignment]
    if half.embedding is not None:
        half.embedding = _InHalf(half.embedding)  # type: ignore[assignment]
    return half


def quantised(content: bytes, images: np.ndarray) -> bytes:
    """A network of ONNX in 8 bits; the same for the same arguments.

    Args:
        content: of the file in float32, with one input.
        images: that show which values its activations take, (N, H, W, 3), uint8.
    """
    # Here: they take time that no other command needs.
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        exact, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("exact", "prepared", "result"))
        exact.write_bytes(content)
        # Its symbolic inference cannot read the graph; ONNX's own, which it runs as well, gives all that is needed.
        quant_pre_process(exact, prepared, skip_symbolic_shape=True, skip_optimization=True)
        quantize_static(
            prepared,
            result,
            _Calibration(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            per_channel=True,
            reduce_range=True,  # weights of 7 bits: a processor without VNNI adds products in 16, which 8 overflow
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return result.read_bytes()


class _Calibration:
    """Images in the form that ONNX Runtime's calibration asks for, which wants no more than `get_next`."""

    def __init__(self, images: np.ndarray) -> None:
        self._batches = self._read(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)

    @staticmethod
    def _read(images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(np.array(images[start : start + _BATCH]))
            yield {"images": normalise(batch).numpy()}
