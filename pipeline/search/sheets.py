"""What a search found: lines for a terminal, a table, and contact sheets.

Every picture keeps the shape of its file, within a place of the shape that the network sees.
"""

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.progress import Progress
from pipeline.common.text import csv_cell, one_line
from pipeline.datasets.images import UnreadableImageError, read_within
from pipeline.report.figures.contact_sheets import draw_image
from pipeline.report.figures.drawing import INK, Picture, canvas, png_bytes
from pipeline.report.wording import count, shortened
from pipeline.search.queries import Found

LISTS = 12  # of a sheet, one below the other
PLACES = 20  # of a list on a sheet
SHEETS = 10
SHOWN = SHEETS * LISTS  # queries; the table of hits has all of them
NOT_THERE = "not in the gallery"
_ROOM = 4  # places that a sheet is wide at least, for the queries' names
_PIXELS = 160  # width of a picture before it is drawn: twice of what is left of it


def write_search(
    lists: Sequence[Found], folder: Path, *, height: int, width: int, bad: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """Writes search.csv (query, rank from 1, path, similarity, verdict), contact sheets and, if any, bad_images.csv.

    Each file is written in one step, when all are made. What an earlier search wrote and this one did not is removed.

    Args:
        lists: of the queries.
        folder: is made where it is missing.
        height, width: of the images that the network takes; they give the shape of the places for pictures.
        bad: (path, reason) of images that were left out.

    Returns:
        The names of the files.

    Raises:
        UserError: an image cannot be read any more.
    """
    files = {}
    with Progress("drawing contact sheets", -(-min(len(lists), SHOWN) // LISTS), unit="sheet") as progress:
        for sheet in search_sheets(lists, height=height, width=width):
            files[f"{sheet.name}.png"] = sheet.png
            progress.advance()
    hits = [
        (csv_cell(found.query), rank, csv_cell(hit.path), hit.similarity, hit.verdict or "")
        for found in lists
        for rank, hit in enumerate(found.hits, start=1)
    ]
    tables = {"search.csv": pd.DataFrame(hits, columns=["query", "rank", "path", "similarity", "verdict"])}
    if bad:
        tables["bad_images.csv"] = pd.DataFrame(
            [(csv_cell(name), reason) for name, reason in bad], columns=["path", "reason"]
        )
    files |= {
        name: table.to_csv(index=False, lineterminator="\n", float_format="%.6f").encode()
        for name, table in tables.items()
    }
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    ours = {"bad_images.csv", *(f"search-{page}.png" for page in range(2, SHEETS + 1))}
    for name in ours - files.keys():
        (folder / name).unlink(missing_ok=True)
    return sorted(files)


def lists_text(lists: Sequence[Found]) -> str:
    """The lists of the first `SHOWN` queries as text for a terminal."""
    return "\n\n".join(_list_text(found) for found in lists[:SHOWN])


def _list_text(found: Found) -> str:
    own = ", ".join(map(one_line, found.own))
    left_out = f" (left out of its own list: {own})" if own else ""
    lines = [f"{one_line(found.query)}{left_out}"]
    if not found.hits:
        return f"{lines[0]}\n  there is no other image in the gallery"
    if found.is_stranger:
        lines[0] += f": {NOT_THERE}"
    told = found.hits[0].verdict is not None
    lines.append("  rank  similarity  " + ("verdict    " if told else "") + "path")
    lines += [
        f"  {rank:4}  {hit.similarity:10.4f}  {f'{hit.verdict:9}  ' if told else ''}{one_line(hit.path)}"
        for rank, hit in enumerate(found.hits, start=1)
    ]
    return "\n".join(lines)


def search_sheets(lists: Sequence[Found], *, height: int, width: int) -> Iterator[Picture]:
    """Draws the first `PLACES` places of the first `SHOWN` queries, one row per query, as `search`, `search-2`, ...

    Raises:
        UserError: an image cannot be read any more.
    """
    read = partial(_read, height=round(_PIXELS * height / width), width=_PIXELS)
    for page, start in enumerate(range(0, min(len(lists), SHOWN), LISTS), start=1):
        name = "search" if page == 1 else f"search-{page}"
        rows = [_illustrated(found, read) for found in lists[start : min(start + LISTS, SHOWN)]]
        yield _sheet(name, rows, aspect=height / width)


def _illustrated(found: Found, read: "partial[np.ndarray]") -> tuple[Found, np.ndarray, list[np.ndarray]]:
    return found, read(found.place), [read(hit.place) for hit in found.hits[:PLACES]]


def _read(place: str, *, height: int, width: int) -> np.ndarray:
    try:
        return read_within(Path(place), height=height, width=width)
    except UnreadableImageError as reason:
        raise UserError(f"{one_line(place)} cannot be read any more: {reason} (search again)") from reason


def _sheet(name: str, rows: Sequence[tuple[Found, np.ndarray, list[np.ndarray]]], *, aspect: float) -> Picture:
    places = max(len(images) for _, _, images in rows)
    row_height = aspect + 0.85  # in widths of a picture: a line above it, the picture, a line below, air
    width, height = 1.14 * (max(places, _ROOM) + 1) + 0.5, row_height * len(rows) + 0.1
    with canvas(size=(0.62 * width, 0.62 * height), grid=False) as (figure, axes), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")  # a path may be in any script: a box stands for it
        ax = axes[0]
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()
        for row, (found, query, images) in enumerate(rows):
            top = 0.42 + row * row_height
            title = shortened(one_line(found.query), round(9 * width)) + (f": {NOT_THERE}" if found.is_stranger else "")
            ax.text(0.05, top - 0.12, title, fontsize=7.5)
            draw_image(ax, query, left=0.05, top=top, aspect=aspect)
            ax.add_patch(Rectangle((0.05, top), 1, aspect, fill=False, edgecolor=INK, linewidth=2))
            ax.text(0.55, top + aspect + 0.06, "query", fontsize=6.5, ha="center", va="top", weight="bold")
            for place, image in enumerate(images):
                left = 0.45 + 1.14 * (place + 1)
                draw_image(ax, image, left=left, top=top, aspect=aspect)
                hit = found.hits[place]
                label = f"{place + 1} · {hit.similarity:.3f}" + (f"\n{hit.verdict}" if hit.verdict else "")
                ax.text(left + 0.5, top + aspect + 0.06, label, fontsize=6.5, ha="center", va="top")
        png = png_bytes(figure, dpi=128)  # in all its colours: they are what the user compares
    alt = f"{count(len(rows), 'query')} with up to {count(places, 'image')} of the gallery, the most similar first."
    return Picture(name=name, alt=alt, caption="At the left the query; below each image its rank and cosine.", png=png)
