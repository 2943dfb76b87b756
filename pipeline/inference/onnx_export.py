"""A trained network as one ONNX file that needs nothing of this project.

Its input `images` is what the network saw in training, (B, 3, H, W) float32, any B; its output `embeddings` is (B, D)
float32, rows of length 1. What turns a picture into such an input is not in the graph, because no operator of ONNX
resizes as Pillow does; it is told in the metadata, see `metadata.py`.

N: images to check with · B: batch · D: width of the embedding · H, W: pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.inference.onnx_metadata import Metadata
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.model.embedding import embed

OPSET = 20  # what torch's exporter writes unless told otherwise, and so what has been tried most
TOLERANCE = 1e-4  # of a coordinate of an embedding, whose length is 1
MAX_BYTES = 2**31 - 1  # of a protocol buffer, which an ONNX file is


def export_onnx(path: Path, network: nn.Module, images: np.ndarray, *, role: str, settings: dict[str, Any]) -> float:
    """Writes `path`, unless what ONNX Runtime makes of it differs from what torch makes of the network.

    Args:
        path: of the file, replaced in one step.
        network: (B, 3, H, W) -> (B, D), on the CPU, in eval mode; any that torch.export can trace.
        images: real ones to check with, (N, H, W, 3), uint8, N >= 1.
        role: student or teacher.
        settings: that made the network.

    Returns:
        the largest difference of a coordinate of an embedding.

    Raises:
        UserError: the difference is above `TOLERANCE`, or the network is too large for one file; nothing is written.
    """
    assert not network.training and len(images) > 0
    metadata = Metadata(role, settings)
    assert images.shape[1:] == (*metadata.size, 3), f"{images.shape} for {metadata.size}"
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise UserError(f"the {role} has {size / 2**30:.1f} GiB of weights, and an ONNX file can hold 2 GiB")
    with replacing(path) as temporary:
        temporary.write_bytes(_serialised(network, metadata))
        exported = OnnxNetwork(temporary, provider="cpu")
        found = np.concatenate([exported.embed(part) for part in (images[:1], images[1:])])
        expected = embed(network, images, device=torch.device("cpu")).numpy()
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:  # NaN is no agreement either
            raise UserError(
                f"{path} is not written: its embeddings differ from PyTorch's by {difference:.1e}, "
                f"more than {TOLERANCE:.0e}"
            )
    return difference


def _serialised(network: nn.Module, metadata: Metadata) -> bytes:
    height, width = metadata.size
    example = torch.zeros(2, 3, height, width)  # torch.export takes a batch of one for a constant
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
    )
    assert program is not None
    model = program.model
    model.metadata_props.clear()
    model.metadata_props.update(metadata.as_text())
    model.graph.metadata_props.clear()
    for node in model.graph:  # where in which file of this machine it came from
        node.metadata_props.clear()
    return program.model_proto.SerializeToString()
