"""Suggests an eps for images without labels. No stage of dvc.yaml."""

from pathlib import Path
from typing import Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.progress import Progress


def suggest(
    model: Annotated[
        Path | None, typer.Option(help="Embed with this network; by default with the starting weights.")
    ] = None,
    k1: Annotated[list[int] | None, typer.Option(help="Try this k1, several times; by default clustering.k1.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for what is written.")] = paths.REPORTS,
) -> None:
    """Clusters the training images once for each eps from 0.25 to 0.85, and says which eps to begin with.

    Reads params.yaml, data/prepared/ and data/pretrained/ (run `dvc repro pretrained prepare` first); no identity.
    Keeps the links of the training images as the training does.
    Prints clusters, outliers, the share of the largest cluster and, where cameras are known, of clusters of one camera,
    and writes them into suggestion.csv and suggestion.png.
    """
    from pipeline.clustering.eps_choice import EPS, clusterings
    from pipeline.common.seeding import seed_everything
    from pipeline.datasets.packed_images import open_training_images
    from pipeline.inference.embedder import Embedder
    from pipeline.methods import METHODS
    from pipeline.model.embedding import embed_shown
    from pipeline.model.saved import build_of
    from pipeline.model.starting_weights import starting_weights
    from pipeline.report.suggestion import suggestion_text, write_suggestion

    settings = stages.settings()
    training = settings.of_training(precision="fp32")
    widths = k1 or [settings.clustering.k1]
    if min(widths) < 1:
        raise UserError(f"--k1 must be at least 1, got {min(widths)}")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file, name a folder")
    paths.require_own_place(output / "suggestion.csv")
    data = open_training_images(paths.PREPARED)
    aware = METHODS[settings.method](training, data.camids).camera_aware(0)
    if aware is None and min(widths) >= len(data.images):
        raise UserError(f"k1 must be below the number of images, {len(data.images)}: name a smaller one with --k1")
    if model is not None:
        found = Embedder(model).embed(data.images, "embedding")
    else:
        seed_everything(settings.seed, deterministic=True)
        network = build_of(settings.as_dict(), weights=starting_weights(paths.PRETRAINED)[0])
        found = embed_shown(network, data.images, "embedding")
    clustering = settings.clustering
    with Progress(f"clustering {len(EPS)} times per k1", len(widths) if aware is None else 1) as progress:
        table = clusterings(
            found,
            eps=EPS,
            k1=widths,
            k2=clustering.k2,
            min_samples=clustering.min_samples,
            neighbours=clustering.neighbours,
            cameras=data.camids,
            camera_aware=aware,
            links=data.links,
            advance=progress.advance,
        ).table
    print(suggestion_text(table, k1=widths[0], settings=settings.as_dict()))
    print(f"written to {output}: {', '.join(write_suggestion(table, output, k1=widths[0]))}")


if __name__ == "__main__":
    stages.run(suggest)
