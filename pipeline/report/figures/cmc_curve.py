"""The CMC curve: share of the queries with a match among the first r places.

R: ranks.
"""

import numpy as np

from pipeline.report.contents import ReportData
from pipeline.report.figures.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, Picture, Table, canvas, png_bytes
from pipeline.report.wording import percent, shortened

_TABLE_RANKS = (1, 2, 5, 10, 20, 50)


def cmc_figure(data: ReportData) -> Picture | None:
    """Cumulative match characteristic of every network; None if there is no curve."""
    if not data.cmc:
        return None
    shares = {name: np.asarray(curve, dtype=float) for name, curve in data.cmc.items()}
    with canvas() as (figure, axes):
        ax = axes[0]
        styles = ((BLUE, "-"), (ORANGE, "--"), (GREY, ":"), (PURPLE, "-."), (GREEN, (0, (5, 1, 1, 1, 1, 1))))
        handles = []
        for position, curve in enumerate(shares.values()):
            colour, dash = styles[position % len(styles)]
            ranks = np.arange(1, len(curve) + 1)
            marker = "o" if len(curve) == 1 else None
            handles += ax.plot(ranks, 100 * curve, color=colour, linestyle=dash, marker=marker)
        longest = max(len(curve) for curve in shares.values())
        lowest = min(float(np.min(curve)) for curve in shares.values())
        ax.set(xlim=(1 - 0.02 * longest, longest + 0.5), ylim=(10 * np.floor(9.9 * lowest), 101.5))
        ax.set_xticks([rank for rank in (1, 5, 10, 20, 30, 40, 50) if rank <= longest])
        ax.set(title="CMC: a correct match among the first r", xlabel="rank r", ylabel="queries, %")
        ax.legend(handles, [shortened(name) for name in shares], loc="lower right")
        png = png_bytes(figure)
    parts = "; ".join(f"{name} {percent(float(curve[0]), unit=True)}" for name, curve in shares.items())
    return Picture(
        name="cmc",
        alt=f"CMC curve up to rank {longest}. At rank 1: {parts}.",
        caption="Share of the queries with a correct match among the first r places of their ranked list.",
        png=png,
        section="ranking",
        table=_table(shares),
    )


def _table(shares: dict[str, np.ndarray]) -> Table:
    """Percent at a few ranks, one row per curve of shape (R,)."""
    longest = max(len(curve) for curve in shares.values())
    ranks = [rank for rank in _TABLE_RANKS if rank <= longest]
    rows = tuple(
        (name, tuple(percent(float(curve[rank - 1]) if rank <= len(curve) else None) for rank in ranks))
        for name, curve in shares.items()
    )
    return Table("Queries with a correct match among the first r, percent", ("r", *map(str, ranks)), rows)
