"""Pages as HTML text: the template engine and what the templates may call.

A page is one file that needs nothing else: images travel inside as data URIs, style is in the page, there is no script,
and the page itself forbids the browser to load anything (Content-Security-Policy).
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from pipeline.common.page_address import cluster_address, page_address
from pipeline.report import wording
from pipeline.report.figures.drawing import Picture

TEMPLATES = Path(__file__).with_name("templates")
_THUMBNAIL = (192, 144)  # width, height at most


@dataclass(frozen=True)
class Section:
    """A section of a page with the pictures that it shows."""

    key: str
    title: str
    pictures: tuple[Picture, ...]


def group_by_section(
    pictures: Sequence[Picture], titles: Mapping[str, str], *, always: Sequence[str]
) -> tuple[Section, ...]:
    """The sections of a page, in the order of `titles`: those of `always` and those that have pictures to show.

    Args:
        pictures: Each names its section; those that are not shown on the page are left out.
        titles: Key -> title of every section.
        always: Keys of the sections that are on the page even without a picture.
    """
    shown = [picture for picture in pictures if picture.on_page]
    for picture in pictures:
        assert picture.section in titles, f"picture {picture.name!r} is of the unknown section {picture.section!r}"
    sections = [Section(key, title, tuple(p for p in shown if p.section == key)) for key, title in titles.items()]
    return tuple(section for section in sections if section.pictures or section.key in always)


def render_template(name: str, **values: Any) -> str:
    """The page that a template makes of `values`."""
    return _environment().get_template(name).render(**values)


def png_uri(picture: Picture) -> str:
    """The picture as the source of an <img>."""
    return _uri(picture.png, "png")


def thumbnail(image: np.ndarray) -> dict[str, Any]:
    """Source, width and height of a small JPEG of an image (H, W, 3) uint8; never larger than the image."""
    picture = Image.fromarray(image)
    picture.thumbnail(_THUMBNAIL, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85, subsampling=0)
    return {"src": _uri(buffer.getvalue(), "jpeg"), "width": picture.width, "height": picture.height}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: wording.printable(value) if type(value) is str else value,
    )
    environment.globals |= {"verdicts": wording.VERDICTS, "page_address": page_address()}
    environment.filters |= {
        "cluster_address": cluster_address,
        "cluster_caption": wording.cluster_caption,
        "confusion_caption": wording.confusion_caption,
        "count": wording.count,
        "entry_alt": wording.entry_alt,
        "group_title": wording.group_title,
        "percent": wording.percent,
        "png_uri": png_uri,
        "query_caption": wording.query_caption,
        "thumbnail": thumbnail,
    }
    return environment


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
