"""Searches a folder of crops for the images that show what a query shows. No stage of dvc.yaml."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.text import one_line


def search(
    queries: Annotated[list[Path], typer.Argument(metavar="QUERY...", help="Image files, or folders of images.")],
    gallery: Annotated[Path, typer.Option(help="Folder of crops that is searched, at any depth.")],
    top: Annotated[int, typer.Option(help="Places of a list.")] = 10,
    model: Annotated[Path, typer.Option(help="The trained model.")] = paths.TRAINED,
    role: Annotated[
        str | None, typer.Option(help="Which of its networks: student (default) or teacher; an exported one has one.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for what is written.")] = paths.REPORTS / "search",
    store: Annotated[str, typer.Option(help="How embeddings are kept: fp32, or fp16, half as large.")] = "fp32",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave images out that cannot be read.")] = False,
) -> None:
    """Ranks the crops of a folder by how much they look like each query; needs no camera and no labels.

    Reads the queries, the gallery and the model, which carries its settings and the thresholds by which a crop shows
    the same individual, another one, or is unsure. Prints the lists. Writes search.csv (query, rank, path, similarity,
    verdict), the contact sheets search.png, search-2.png, ..., and, where images were left out,
    bad_images.csv. The embeddings of the gallery are kept in .scratch/search/. A query's own file is not in its list.
    """
    if top < 1:
        raise UserError(f"--top must be at least 1, got {top}")
    _require_place(output, gallery)
    from pipeline.inference.embedder import Embedder
    from pipeline.search.gallery import open_gallery
    from pipeline.search.origin import origin, other_images
    from pipeline.search.queries import open_queries, search_gallery
    from pipeline.search.shards import STORES
    from pipeline.search.sheets import PLACES, SHOWN, lists_text, write_search

    if store not in STORES:
        raise UserError(f"--store must be {' or '.join(STORES)}, got {store!r}")
    embedder = Embedder(model, role=role)
    print(f"model: {origin(embedder)}")
    if (warning := other_images(embedder, gallery, raw=paths.raw())) is not None:
        print(f"warning: {warning}", file=sys.stderr)
    asked = open_queries(queries, embedder, skip_bad=skip_bad)
    crops = open_gallery(gallery, embedder, paths.scratch() / "search", skip_bad=skip_bad, store=store)
    for warning in asked.warnings + crops.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{one_line(gallery)}: {len(crops.names):,} images, {crops.embedded:,} of them embedded now\n")
    lists = search_gallery(asked, crops, top=top, thresholds=embedder.thresholds)
    print(lists_text(lists) + "\n")
    height, width = embedder.size
    bad = [*asked.bad, *((str(gallery / name), reason) for name, reason in crops.bad)]
    files = write_search(lists, output, height=height, width=width, bad=bad)
    if len(lists) > SHOWN:
        print(f"shown are the first {SHOWN} of {len(lists):,} queries; search.csv has all of them")
    if top > PLACES and len(crops.names) > PLACES:
        print(f"the contact sheets show the first {PLACES} places of a list")
    if top > len(crops.names):
        print(f"the gallery has fewer images than --top {top}: the lists end earlier")
    print(f"written to {output}: {', '.join(files)}")


def _require_place(output: Path, gallery: Path) -> None:
    """What is written must have a folder, and must not be found by the next search."""
    there = next(place for place in (output, *output.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"--output {output}: {there} is a file, name a folder")
    if output.resolve().is_relative_to(gallery.resolve()):
        raise UserError(f"--output {output} lies in the gallery and would be searched next time: name another folder")


if __name__ == "__main__":
    stages.run(search)
