"""What a model that was trained on one data set is worth on others. No stage of dvc.yaml."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.progress import Progress


def cross(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help=".safetensors, .pt or exported .onnx.")],
    on: Annotated[str, typer.Option(help="Data sets to score on, such as market1501,msmt17,synthetic.")],
    role: Annotated[str | None, typer.Option(help="Of the models: student (default) or teacher.")] = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="Pack what is not prepared yet.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for what is written.")] = paths.REPORTS / "cross",
) -> None:
    """Scores models on data sets: one table, one heat map, one run in MLflow.

    Reads the models, which carry their settings, and of each data set the prepared folder at the size of a model's
    images: data/prepared/ where it is that one, else .scratch/prepared/, which --prepare fills from data/raw/ by the
    settings of params.yaml (own, synthetic, vehicleid, wildlife, union, prepare). Prints the table; writes cross.csv
    and cross.png. Changes no result of the stages.
    """
    from pipeline.inference.across import score_across
    from pipeline.inference.embedder import Embedder
    from pipeline.preparation.kept_folders import of_data_set, pack_beside, prepared_folder
    from pipeline.report.across import across_text, write_across
    from pipeline.tracking.crossing import log_across

    names = list(dict.fromkeys(name.strip() for name in on.split(",") if name.strip()))
    if not names:
        raise UserError(f"--on must name data sets, with commas between them, got {on!r}")
    paths.require_own_place(output / "cross.csv")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file, name a folder")
    embedders, settings = [Embedder(model, role=role) for model in models], stages.settings()
    sizes = dict.fromkeys(embedder.size for embedder in embedders)
    wanted = {
        (name, (height, width)): of_data_set(settings, name, height=height, width=width)
        for name in names
        for height, width in sizes
    }
    missing = [key for key, each in wanted.items() if prepared_folder(each) is None]
    if missing and not prepare:
        (name, (height, width)), further = missing[0], len(missing) - 1
        more = f" (and {further} more)" if further else ""
        command = f"python -m stages.cross {' '.join(map(str, models))} --on {on} --prepare"
        raise UserError(f"{name} is not prepared at {height} x {width} (height x width){more}: run `{command}`")
    for name, (height, width) in missing:
        with Progress(f"packing {name} at {height} x {width}", unit="image") as progress:
            pack_beside(wanted[name, (height, width)], progress=progress.reach, warn=_warn)
    folders = {key: folder for key, each in wanted.items() if (folder := prepared_folder(each)) is not None}
    table = score_across(embedders, folders, tell=print)
    print(f"\n{across_text(table)}\n")
    written = write_across(table, output)
    print(f"written to {output}: {', '.join(path.name for path in written)}")
    print(f"in MLflow: {log_across(paths.checkout(), table, written)}")


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    stages.run(cross)
