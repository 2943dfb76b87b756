"""A trained network as an ONNX file. No stage of dvc.yaml."""

from pathlib import Path
from typing import Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.inference.example_crops import crops_to_check
from pipeline.inference.onnx_export import OPSET, export_onnx
from pipeline.inference.trained import load_trained
from pipeline.model.saved import MODEL_FILE


def export(
    model: Annotated[Path, typer.Option(help="Of the train stage (.safetensors), or a checkpoint (.pt).")] = paths.MODEL
    / MODEL_FILE,
    role: Annotated[str, typer.Option(help="student or teacher")] = "student",
    output: Annotated[Path, typer.Option(help="The file to write.")] = paths.REPORTS / "model.onnx",
) -> None:
    """Writes a network as ONNX, if it computes what PyTorch computes.

    Reads the model and, to check with, data/prepared/ (people are drawn where it is not there). Writes one ONNX file:
    images, normalised, of any number -> embeddings of length 1. Its metadata hold settings and preprocessing as JSON.
    """
    if output.suffix != ".onnx":
        raise UserError(f"--output must end in .onnx, got {output}")
    paths.require_own_place(output)
    network, settings = load_trained(model, role=role)
    images, what = crops_to_check(paths.PREPARED, **settings["image"])
    difference = export_onnx(output, network, images, role=role, settings=settings)
    print(f"{output}: {settings['backbone']}, {role}, opset {OPSET}, {output.stat().st_size / 2**20:.1f} MiB")
    print(f"largest difference from PyTorch {difference:.1e} ({what})")


if __name__ == "__main__":
    stages.run(export)
