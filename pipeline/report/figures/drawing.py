"""Shared by all figures: canvas, style, lines over the epochs, PNG bytes.

Drawn with matplotlib's object-oriented API on its own default style: no global state, no window, no date in the file,
so the same values give the same bytes. Colours are Okabe and Ito's, darkened where white would swallow them, which
colour-blind readers can tell apart; lines differ in dash and marker as well.
E: epochs.
"""

import io
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from pipeline.report.wording import shortened

BLUE, ORANGE, GREEN, PURPLE, GREY, INK = "#0072B2", "#D55E00", "#00795A", "#A8518A", "#6B7280", "#1F2328"
_SIZE, _DPI = (5.2, 3.3), 192
_STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": "#9AA0A6",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E6EA",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": "#4B5158",
    "ytick.color": "#4B5158",
    "lines.linewidth": 1.9,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 2.4,
    "text.parse_math": False,  # a name may hold a dollar sign
}


@dataclass(frozen=True)
class Table:
    """The numbers of a figure: headings of the columns (the first heads the rows' names) and (name, cells) per row."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Picture:
    """A finished figure.

    Attributes:
        name: File name without the suffix.
        alt: What it shows, in words and numbers, for readers who do not see it.
        caption: How to read it.
        png: The image file.
        section: Key of the section of the page that shows it; "" for a picture that is on no page.
        wide: Whether it takes the whole width of the page.
        on_page: Whether the page shows the picture; False if its section shows the same content as text and thumbnails,
            and the picture is a file beside the page alone.
        table: Its numbers, shown below it.
    """

    name: str
    alt: str
    caption: str
    png: bytes
    section: str = ""
    wide: bool = False
    on_page: bool = True
    table: Table | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height


def lines_of(history: pd.DataFrame, names: Mapping[str, str], *, scale: float = 1.0) -> dict[str, pd.Series]:
    """Label -> finite values over their epochs, for the columns that have any."""
    lines = {}
    for column, label in names.items():
        if column in history:
            values = pd.Series(history[column].to_numpy(float) * scale, index=history["epoch"].to_numpy(int))
            values = values[np.isfinite(values)]
            if len(values):
                lines[label] = values
    return lines


def draw_lines(
    ax: Any, lines: Mapping[str, pd.Series], *, markers: bool = False, start: int = 0
) -> list[tuple[Any, str]]:
    """Draws each line in its own style, starting with style number `start`; returns (handle, label).

    With `markers`, points are marked as long as there are few enough to tell apart; a single point always is.
    """
    styles = (
        (BLUE, "-", "o"),
        (ORANGE, "--", "s"),
        (GREEN, "-.", "^"),
        (PURPLE, ":", "D"),
        (GREY, "-", "v"),
        (INK, "--", "x"),
    )
    handles = []
    for position, (label, values) in enumerate(lines.items(), start=start):
        colour, dash, marker = styles[position % len(styles)]
        marked = len(values) == 1 or (markers and len(values) <= 30)
        handle = ax.plot(values.index, values, color=colour, linestyle=dash, marker=marker if marked else None)
        handles.append((handle[0], label))
    return handles


def finish(
    ax: Any,
    history: pd.DataFrame,
    handles: Sequence[tuple[Any, str]],
    *,
    ylabel: str,
    title: str = "",
    last: bool = True,
) -> None:
    """Sets limits, ticks, labels and legend of a panel over the epochs; only the `last` panel labels the epochs."""
    epochs = history["epoch"].to_numpy(int)
    margin = max(0.5, 0.02 * (epochs.max() - epochs.min()))
    ax.set(xlim=(epochs.min() - margin, epochs.max() + margin), ylabel=ylabel)
    if title:
        ax.set_title(title)
    if last:
        ax.set_xlabel("epoch")
    else:
        ax.tick_params(labelbottom=False)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if handles:
        ax.legend([handle for handle, _ in handles], [shortened(label) for _, label in handles], loc="best")


def from_zero(ax: Any) -> None:
    """Makes a panel of lines start at 0, with a margin above the highest value."""
    highest = max(float(np.max(line.get_ydata())) for line in ax.lines)
    ax.set_ylim(0, 1.08 * highest if highest > 0 else 1)


def course(lines: Mapping[str, pd.Series], *, digits: int = 1) -> str:
    """First and last value of each line, for alternative texts."""
    parts = []
    for label, values in lines.items():
        first, last = f"{values.iloc[0]:,.{digits}f}", f"{values.iloc[-1]:,.{digits}f}"
        if len(values) == 1:
            parts.append(f"{label} {last} in epoch {values.index[-1]}")
        else:
            parts.append(f"{label} {first} in epoch {values.index[0]}, {last} in epoch {values.index[-1]}")
    return "; ".join(parts)


@contextmanager
def canvas(*, rows: int = 1, size: tuple[float, float] = _SIZE, grid: bool = True) -> Iterator[tuple[Any, list[Any]]]:
    """A figure and its panels, one above the other, in our style regardless of the user's matplotlibrc."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")  # a name may be in any script: a box stands for it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained" if grid else None)
        FigureCanvasAgg(figure)
        if grid:
            yield figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
        else:
            yield figure, [figure.add_axes((0, 0, 1, 1))]


def png_bytes(figure: Any, *, dpi: int = _DPI) -> bytes:
    """The figure as a PNG file without a date or a version in it."""
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    figure.canvas.print_png(buffer, metadata={"Software": None})  # `savefig` would draw it twice
    return buffer.getvalue()


def photographs_bytes(figure: Any, *, dpi: int) -> bytes:
    """Likewise, with 256 colours: far fewer bytes, and enough for small photographs."""
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(256)
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
