"""The weights that the training starts from."""

from typing import Annotated

import typer

import stages
from pipeline.common import paths


def pretrained(
    mirror: Annotated[
        str | None,
        typer.Option(
            envvar="REID_WEIGHTS_MIRROR", help="Base URL with the published files by name; of timm: of its hub."
        ),
    ] = None,
) -> None:
    """Fetches the published weights of the backbone, learns some from drawn people, or takes a file of weights.

    Reads params.yaml (backbone, pretrained, image) and data/raw/weights/, where published files are kept once they are
    fetched and verified, and weights once they are learned. Writes data/pretrained/: weights.* (none for `pretrained:
    none`), weights.json, settings.yaml.
    """
    from pipeline.model.placing_weights import place_starting_weights

    settings = stages.settings()
    message = place_starting_weights(
        settings.pretrained,
        backbone=settings.backbone,
        size=(settings.image.height, settings.image.width),
        folder=paths.PRETRAINED,
        downloads=paths.raw() / "weights",
        checkout=paths.checkout(),
        mirror=mirror,
    )
    settings.write(paths.PRETRAINED / "settings.yaml", ("backbone", "pretrained", "image"))
    print(message)


if __name__ == "__main__":
    stages.run(pretrained, watched=("backbone", "pretrained", "image"))
