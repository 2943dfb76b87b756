"""Images as they came -> one packed array and a catalogue."""

import sys

import pipeline.places as at
import stages
from pipeline.datasets.drawn import ensure_synthetic
from pipeline.datasets.readers import READERS, count_warning, dataset_folder
from pipeline.datasets.store import prepare_store
from pipeline.params import read_settings
from pipeline.progress import Progress


def prepare() -> None:
    """Decodes and resizes every image once.

    Reads params.yaml (dataset, image, synthetic) and the data set's folder below data/raw/ (drawn there first, if the
    data set is `synthetic`). Writes data/prepared/: images.npy, catalogue.csv, summary.json, settings.yaml.
    """
    settings = read_settings()
    source = dataset_folder(settings.dataset, at.raw())
    if settings.dataset == "synthetic":
        with Progress("drawing people", unit="image") as progress:
            ensure_synthetic(source, **settings.synthetic.model_dump(), progress=progress.reach)
    catalogue = READERS[settings.dataset](source)
    if warning := count_warning(settings.dataset, catalogue):
        print(f"warning: {warning}", file=sys.stderr)
    with Progress("packing images", total=len(catalogue), unit="image") as progress:
        size = {"height": settings.image.height, "width": settings.image.width}
        summary = prepare_store(catalogue, source, at.PREPARED, **size, progress=progress.advance)
    settings.write(at.PREPARED / "settings.yaml", "dataset", "image", "synthetic")
    splits = ", ".join(f"{name} {s['images']:,}" for name, s in summary["splits"].items())
    print(f"{settings.dataset}: {summary['images']:,} images ({splits}), digest {summary['digest'][:12]}")


if __name__ == "__main__":
    stages.run(prepare)
