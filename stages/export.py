"""A trained network as an ONNX file. No stage of dvc.yaml."""

from pathlib import Path
from typing import Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError


def export(
    model: Annotated[
        Path, typer.Option(help="Of the train stage (.safetensors), or a checkpoint (.pt).")
    ] = paths.TRAINED,
    role: Annotated[str, typer.Option(help="student or teacher")] = "student",
    output: Annotated[Path, typer.Option(help="The file to write.")] = paths.REPORTS / "model.onnx",
    precision: Annotated[str, typer.Option(help="fp32, fp16 (half the size) or int8 (a quarter).")] = "fp32",
    max_loss: Annotated[
        float | None, typer.Option(help="Points of mAP that may be lost (0.5 by default for fp16, 2 for int8).")
    ] = None,
    score: Annotated[
        bool | None, typer.Option(help="Compare mAP where there are identities; by default for fp16 and int8.")
    ] = None,
) -> None:
    """Writes a network as ONNX, if it computes what PyTorch computes.

    Reads the model and, to check with, data/prepared/ (people are drawn where it is not there). Writes one ONNX file:
    images, normalised, of any number -> embeddings of length 1. Its metadata hold settings, preprocessing, precision
    and the result of the check as JSON.
    """
    from pipeline.inference.example_crops import crops_to_calibrate, crops_to_check, scoring_set
    from pipeline.inference.onnx_export import OPSET, export_onnx
    from pipeline.inference.onnx_precision import PRECISIONS
    from pipeline.inference.trained import load_trained

    if output.suffix != ".onnx":
        raise UserError(f"--output must end in .onnx, got {output}")
    if precision not in PRECISIONS:
        raise UserError(f"--precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if max_loss is not None and not max_loss >= 0:
        raise UserError(f"--max-loss must be 0 or more points of mAP, got {max_loss}")
    paths.require_own_place(output)
    network, settings = load_trained(model, role=role)
    image = settings["image"]
    images, what = crops_to_check(paths.PREPARED, **image)
    if score is None:
        score = precision != "fp32" or max_loss is not None
    test, reason = scoring_set(paths.PREPARED, **image) if score else (None, "no --score")
    if test is None and max_loss is not None:
        raise UserError(f"--max-loss is in points of mAP, and none is measured ({reason}): leave it out")
    found = export_onnx(
        output,
        network,
        images,
        role=role,
        settings=settings,
        precision=precision,
        calibration=crops_to_calibrate(paths.PREPARED, **image) if precision == "int8" else None,
        test=test,
        max_loss=max_loss,
    )
    size = output.stat().st_size / 2**20
    print(f"{output}: {settings['backbone']}, {role}, {precision}, opset {OPSET}, {size:.1f} MiB")
    print(f"largest difference from PyTorch {found.difference:.1e}, smallest cosine {found.cosine:.4f} ({what})")
    if found.mean_ap is None or found.pytorch_mean_ap is None:
        print(f"mAP was not compared: {reason}")
    else:
        print(f"mAP {100 * found.mean_ap:.2f}, and {100 * found.pytorch_mean_ap:.2f} in PyTorch")


if __name__ == "__main__":
    stages.run(export)
