"""Images as they came -> one packed array and a catalogue."""

import shutil
import sys
from pathlib import Path
from typing import Any

import stages
from pipeline.common import paths
from pipeline.common.progress import Progress
from pipeline.config.schema import DATA_SECTIONS


def prepare() -> None:
    """Decodes and resizes every image once.

    Reads params.yaml (see DATA_SECTIONS) and the data set's folder below data/raw/.
    Writes data/prepared/: images.npy, catalogue.csv, summary.json, settings.yaml and, where there are any, names.json
    (of identities and cameras), bad_images.csv (unreadable, left out) and leaked_images.csv (in both halves). Where it
    has to stop because of unreadable images, it lists them in data/bad_images.csv.
    """
    from pipeline.preparation.links import consistent_links
    from pipeline.preparation.placing import place, require_as_recorded
    from pipeline.preparation.prepared_folder import write_prepared_folder
    from pipeline.preparation.union import open_source, parts_of

    settings = stages.settings()
    for part in parts_of(settings):
        place(part)
    source = open_source(settings)
    for warning in source.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for note in source.notes:
        print(note)
    train = list(source.catalogue["path"][source.catalogue["split"] == "train"])
    links = consistent_links(train, source.links, table=paths.checkout() / paths.CONTRADICTIONS)

    def finish(folder: Path) -> None:
        require_as_recorded(source.folder)
        settings.write(folder / "settings.yaml", DATA_SECTIONS)

    with Progress("packing images", total=len(source.catalogue), unit="image") as progress:
        summary = write_prepared_folder(
            source.catalogue,
            source.folder,
            paths.PREPARED,
            **settings.image.model_dump(),
            names=source.names,
            links=links,
            tracklets=source.tracklets,
            skip_bad=settings.prepare.skip_bad,
            follow_links=settings.prepare.follow_links,
            list_if_refused=paths.checkout() / paths.BAD_IMAGES,
            finish=finish,
            progress=progress.advance,
        )
    _report(settings.data_name, summary)


def _report(name: str, summary: dict[str, Any]) -> None:
    from pipeline.preparation.prepared_folder import BAD_IMAGES, LEAKED_IMAGES

    for count, what, table in (
        (summary["skipped"], "images cannot be read and are left out", BAD_IMAGES),
        (summary["leaked"], "test images are training images too, byte for byte", LEAKED_IMAGES),
    ):
        if count:
            print(f"warning: {count:,} {what}: {_lasting(paths.PREPARED / table)}")
    if "links" in summary:
        links = summary["links"]
        outliers = f"; {links['outliers']:,} images are in no cluster" if links["outliers"] else ""
        told = f"links: the training images are {links['units']:,} units, and {links['apart']:,} pairs of these are two"
        print(f"{told}{outliers}")
    splits = ", ".join(f"{name} {s['images']:,}" for name, s in summary["splits"].items())
    print(f"{name}: {summary['images']:,} images ({splits}), digest {summary['digest'][:12]}")


def _lasting(table: Path) -> Path:
    """`table`, or its copy in the user's checkout where DVC will remove the folder that this run has to itself."""
    return table if paths.in_workspace() else Path(shutil.copy(table, paths.checkout() / "data" / table.name))


if __name__ == "__main__":
    stages.run(prepare, watched=DATA_SECTIONS)
