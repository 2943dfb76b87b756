"""What a model was trained on, and whether a gallery is of these images: its scores are of them alone."""

from pathlib import Path

from pipeline.common.text import one_line
from pipeline.config.schema import OWN_IMAGES
from pipeline.inference.embedder import Embedder
from pipeline.model.saved import DATA_NAME


def origin(embedder: Embedder) -> str:
    """`models/model.pt (student, resnet50, trained on market1501)`."""
    settings = embedder.settings
    dataset = settings.get("dataset", "unknown images")
    images = settings.get(DATA_NAME, "own images" if dataset in OWN_IMAGES else dataset)
    return f"{one_line(embedder.path)} ({embedder.role}, {settings['backbone']}, trained on {images})"


def other_images(embedder: Embedder, gallery: Path, *, raw: Path) -> str | None:
    """A sentence where the model was trained on a data set that the gallery does not lie in; else None.

    Nothing is said of models of own images: they may be those of the gallery.

    Args:
        embedder: of the search.
        gallery: folder of crops.
        raw: folder of the data sets, one each; they may be links, or hold some.
    """
    dataset = embedder.settings.get("dataset")
    if dataset is None or dataset in OWN_IMAGES:
        return None
    home = raw / dataset
    inside = [home, *home.iterdir()] if home.is_dir() else []
    if any(gallery.resolve().is_relative_to(folder.resolve()) for folder in inside):
        return None
    what = "drawn people (dataset: synthetic)" if dataset == "synthetic" else dataset
    advice = "train on images like these" if dataset == "synthetic" else "unless they are of it, train on such images"
    return f"the model was trained on {what}, and {one_line(gallery)} lies elsewhere: expect worse lists; {advice}"
