"""A trained network as one ONNX file that needs nothing of this project.

Its input `images` is what the network saw in training, (B, 3, H, W) float32, any B; its output `embeddings` is (B, D)
float32, rows of length 1. What turns a picture into such an input is not in the graph, because no operator of ONNX
resizes as Pillow does; it is told in the metadata, see `onnx_metadata.py`. How it computes is told in
`onnx_precision.py`.

N: images to check with · B: batch · D: width of the embedding · H, W: pixels.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.evaluation.test_set import TestSet
from pipeline.inference.onnx_metadata import Agreement, Metadata
from pipeline.inference.onnx_precision import PRECISIONS, halved, quantised
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.model.embedding import embed, embed_shown
from pipeline.model.network import Network

OPSET = 20  # what torch's exporter writes unless told otherwise, and so what has been tried most
MAX_BYTES = 2**31 - 1  # of a protocol buffer, which an ONNX file is


def export_onnx(
    path: Path,
    network: Network,
    images: np.ndarray,
    *,
    role: str,
    settings: dict[str, Any],
    precision: str = "fp32",
    calibration: np.ndarray | None = None,
    test: TestSet | None = None,
    max_loss: float | None = None,
) -> Agreement:
    """Writes `path`, unless what ONNX Runtime makes of it is too far from what torch makes of the network.

    Args:
        path: of the file, replaced in one step.
        network: (B, 3, H, W) -> (B, D), on the CPU, in eval mode; any that torch.export can trace.
        images: real ones to check with, (N, H, W, 3), uint8, N >= 1.
        role: student or teacher.
        settings: that made the network.
        precision: one of `PRECISIONS`.
        calibration: more images, (any number, H, W, 3), uint8, by which int8 chooses the ranges of its activations.
        test: to compare mAP by; None = the embeddings of `images` alone decide.
        max_loss: of mAP, in points, in place of the precision's own limit.

    Returns:
        how near the file is to the network, as its metadata tell it.

    Raises:
        UserError: the file is further from the network than the `Limits` of the precision, or the network is too large
            for one file; nothing is written.
    """
    assert not network.training and len(images) > 0
    metadata = Metadata(role, settings, precision)
    assert images.shape[1:] == (*metadata.size, 3), f"{images.shape} for {metadata.size}"
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise UserError(f"the {role} has {size / 2**30:.1f} GiB of weights, and an ONNX file can hold 2 GiB")
    with np.errstate(all="ignore"):  # a number that float16 cannot hold is found below, in the embeddings
        content = _serialised(halved(network) if precision == "fp16" else network, metadata.size)
    if precision == "int8":
        assert calibration is not None
        content = quantised(content, calibration)
    with replacing(path) as temporary:
        temporary.write_bytes(_with_metadata(content, metadata))
        exported = OnnxNetwork(temporary, provider="cpu")
        agreement = _compared(exported, network, images)
        _require_near(agreement, path, precision)
        if test is not None:
            agreement = _scored(agreement, exported, network, test)
        _require_as_good(agreement, path, precision, max_loss)
        temporary.write_bytes(_with_metadata(content, replace(metadata, agreement=agreement)))
    return agreement


def _compared(exported: OnnxNetwork, network: Network, images: np.ndarray) -> Agreement:
    found = np.concatenate([exported.embed(part) for part in (images[:1], images[1:])])
    expected = embed(network, images, device=torch.device("cpu")).numpy()
    cosines = (found * expected).sum(axis=1)
    return Agreement(float(np.abs(found - expected).max()), float(np.clip(cosines.min(), -1, 1)))


def _scored(agreement: Agreement, exported: OnnxNetwork, network: Network, test: TestSet) -> Agreement:
    before = test.embed(lambda images, title: embed_shown(network, images, f"PyTorch, {title}"))
    network.cpu()
    after = test.embed(lambda images, title: exported.embed_shown(images, f"ONNX, {title}"))
    return replace(agreement, mean_ap=test.score(*after).mean_ap, pytorch_mean_ap=test.score(*before).mean_ap)


def _require_near(agreement: Agreement, path: Path, precision: str) -> None:
    limit = PRECISIONS[precision].difference
    if not agreement.difference <= limit:  # NaN is no agreement either
        advice = "take the versions of requirements.txt" if precision == "fp32" else "take --precision fp32"
        raise UserError(
            f"{path} is not written: its embeddings differ from PyTorch's by {agreement.difference:.1e}, "
            f"more than {limit:.0e}: {advice}"
        )


def _require_as_good(agreement: Agreement, path: Path, precision: str, max_loss: float | None) -> None:
    limits, loss = PRECISIONS[precision], agreement.loss
    most = limits.loss if max_loss is None else max_loss
    if loss is None:
        if not agreement.cosine >= limits.cosine:
            raise UserError(
                f"{path} is not written: an embedding of {precision} has a cosine of {agreement.cosine:.4f} with "
                f"PyTorch's, less than {limits.cosine}, and no mAP tells whether that matters: take a wider "
                "--precision, or prepare a data set with identities"
            )
    elif most is not None and not loss <= most:
        raise UserError(
            f"{path} is not written: {precision} loses {loss:.2f} points of mAP, "
            f"more than {most:g}: take a wider --precision, or allow more by --max-loss"
        )


def _serialised(network: torch.nn.Module, size: tuple[int, int]) -> bytes:
    example = torch.zeros(2, 3, *size)  # torch.export takes a batch of one for a constant
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
    model.graph.metadata_props.clear()
    for node in model.graph:  # where in which file of this machine it came from
        node.metadata_props.clear()
    return program.model_proto.SerializeToString()


def _with_metadata(content: bytes, metadata: Metadata) -> bytes:
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata.as_text())
    return model.SerializeToString()
