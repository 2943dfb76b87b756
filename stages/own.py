"""Settings that fit one's own images, written into params.yaml. No stage of dvc.yaml."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.files import write_text
from pipeline.common.text import one_line

PARAMS = Path("params.yaml")
SECONDS_FOR_EPS = 120  # that decoding and embedding the images may take


def own(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Your images, below data/raw/.")],
    table: Annotated[str | None, typer.Option(help="A table in it (images.csv, where there is one).")] = None,
    camera: Annotated[str | None, typer.Option(help="Regular expression that finds the camera in a path.")] = None,
    tracklet: Annotated[str | None, typer.Option(help="Likewise, the tracklet.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and fetch nothing.")] = False,
    mirror: Annotated[str | None, typer.Option(envvar="REID_WEIGHTS_MIRROR", help="As of stages.pretrained.")] = None,
) -> None:
    """Looks at your images and this machine, and writes the settings that fit both into params.yaml.

    Says what it chose and why, and about how long the training will take. Then it embeds the images with the starting
    weights and chooses clustering.eps, where that is a matter of seconds. `dvc exp run` trains.
    """
    from pipeline.clustering.eps_choice import suggested
    from pipeline.common.device import choose_device
    from pipeline.fitting.crops import crops_text
    from pipeline.fitting.own_images import open_own_images
    from pipeline.fitting.recipe import eps_fit, fit
    from pipeline.fitting.trial import clusters_by_eps, times
    from pipeline.model.fetch import where_to_have
    from pipeline.report.suggestion import clusterings_text
    from pipeline.training.duration import duration

    raw = paths.raw()
    found = open_own_images(folder, raw=raw, file=PARAMS, table=table, camera=camera, tracklet=tracklet)
    for warning in found.source.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    name, crops, downloads = one_line(found.name), found.crops, raw / "weights"
    print(*crops_text(name, crops), *found.source.notes, "", sep="\n")
    chosen = fit(
        crops, gpu=choose_device().type == "cuda", find=lambda each: where_to_have(each, downloads, base_url=mirror)
    )
    text, settings = found.changed(chosen.settings)
    print(*chosen.reasons, sep="\n")
    took = times(settings, images=crops.images)
    print(f"the training will take about {duration(took.training)} here, which is an estimate from timing its network")
    if dry_run:
        print("clustering.eps: chosen from the images where this is run without --dry-run\nnothing is written")
        return
    if took.embedding <= SECONDS_FOR_EPS:
        by_eps = clusters_by_eps(found.source, settings, downloads=downloads, mirror=mirror)
        k1 = settings.clustering.k1
        print("", clusterings_text(by_eps, k1=k1), "", sep="\n")
        of_eps = eps_fit(suggested(by_eps, k1=k1), chosen)
        text, settings = found.changed(of_eps.settings)
        print(*of_eps.reasons, sep="\n")
    else:
        print(
            f"clustering.eps {settings.clustering.eps:g}, the recipe's: to look for a better one takes about "
            f"{duration(took.embedding)}: dvc repro prepare pretrained, and then python -m stages.suggest"
        )
    write_text(PARAMS, text)
    print("written to params.yaml; to train: uv run dvc exp run")


if __name__ == "__main__":
    stages.run(own)
