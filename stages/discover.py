"""Who is in a folder of crops, by a network that is there: no training. No stage of dvc.yaml."""

import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.config.schema import Neighbours


def discover(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Crops, at any depth.")],
    model: Annotated[Path | None, typer.Option(help="Trained or exported; default: that of the last run.")] = None,
    role: Annotated[str | None, typer.Option(help="Of the model: student (default) or teacher.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Without a model: resnet50, ..., timm/<name>.<tag>.")] = None,
    pretrained: Annotated[str | None, typer.Option(help="Of the backbone: imagenet (default), a file, ...")] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help="Of its images: height, width (256 128).")] = None,
    eps: Annotated[float | None, typer.Option(help="DBSCAN's radius; default: suggested by the images.")] = None,
    k1: Annotated[int, typer.Option(help="Neighbours of the k-reciprocal sets.")] = 20,
    k2: Annotated[int, typer.Option(help="Neighbours averaged in the local expansion.")] = 6,
    min_samples: Annotated[int, typer.Option(help="Images that make a cluster, at least.")] = 4,
    neighbours: Annotated[str, typer.Option(help="exact, or approximate for more than 200,000 images.")] = "exact",
    camera: Annotated[str | None, typer.Option(help="Regular expression that finds the camera in a path.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for what is written.")] = paths.REPORTS / "discover",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave images out that cannot be read.")] = False,
) -> None:
    """Clusters a folder of crops; run again when it has grown, and known individuals keep their numbers.

    Reads the crops, a network and, where it lies in DIR, corrections.csv, which it keeps exactly. Prints what each eps
    finds, and what has changed since last time. Writes clusters.csv (path, cluster; -1: none), a contact sheet per
    individual, suggestion.csv and .png, and for next time individuals.json and origin.json. The embeddings are kept in
    .scratch/search/.
    """
    from pipeline.discovery.individuals import How, find_individuals
    from pipeline.discovery.origin import Origin
    from pipeline.preparation.readers.image_folder import cameras_of
    from pipeline.report.suggestion import clusterings_text
    from pipeline.search.gallery import open_gallery

    origin = Origin(
        folder=str(folder),
        model=None if model is None else str(model),
        role=role,
        backbone=backbone,
        pretrained=pretrained,
        size=size,
        camera=camera,
        skip_bad=skip_bad,
    )
    if eps is not None and not 0 < eps < 1:
        raise UserError(f"--eps must be above 0 and below 1, got {eps}")
    for name, value in (("--k1", k1), ("--k2", k2), ("--min-samples", min_samples)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    if neighbours not in get_args(Neighbours):
        raise UserError(f"--neighbours must be {' or '.join(get_args(Neighbours))}, got {neighbours!r}")
    paths.require_own_place(output)
    if output.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--output {output} lies in {folder} and would be found next time: name another folder")
    embedder = origin.embedder(last=paths.TRAINED, downloads=paths.raw() / "weights")
    gallery = open_gallery(folder, embedder, paths.scratch() / "search", skip_bad=skip_bad)
    for warning in gallery.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    cameras = None if camera is None else cameras_of(gallery.names, camera, setting="--camera")
    how = How(eps, k1, k2, min_samples, neighbours)
    found = find_individuals(gallery, how, folder=output, cameras=cameras)
    print(clusterings_text(found.table, k1=found.k1), *found.sentences(), sep="\n")
    written = found.write(output)
    origin.write(output, embedder)
    print(f"written to {output}: {', '.join(written)}")


if __name__ == "__main__":
    stages.run(discover)
