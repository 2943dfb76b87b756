"""What eps does to the clusters of one set of embeddings, and which one is suggested."""

import pandas as pd

from pipeline.clustering.eps_choice import LARGEST
from pipeline.report.figures.drawing import GREY, Picture, canvas, draw_lines, from_zero, png_bytes

_SIZE = (6.0, 6.4)


def suggestion_figure(table: pd.DataFrame, row: pd.Series | None) -> Picture:
    """Clusters, outliers and the largest cluster over eps.

    Args:
        table: as from `eps_choice.clusterings`.
        row: that is suggested, or None.
    """
    panels = {"clusters": "clusters", "outliers": "share of outliers", "largest": "share of the largest cluster"}
    with canvas(rows=len(panels), size=_SIZE) as (figure, axes):
        for ax, (column, label) in zip(axes, panels.items(), strict=True):
            lines = {
                f"k1 {width:d}" if width else "camera-aware": table[table["k1"] == width].set_index("eps")[column]
                for width in table["k1"].unique().tolist()
            }
            handles = draw_lines(ax, lines, markers=True)
            from_zero(ax)
            ax.set_ylabel(label)
            if row is not None:
                ax.axvline(row["eps"], color=GREY, linewidth=1)
            if ax is not axes[-1]:
                ax.tick_params(labelbottom=False)
        axes[-1].axhline(LARGEST, color=GREY, linewidth=1, linestyle=":")
        axes[-1].set_xlabel("clustering.eps")
        axes[0].set_title("What eps does to the clusters")
        figure.legend(*zip(*handles, strict=True), loc="outside lower left", ncols=4)
        figure.align_ylabels(axes)
        png = png_bytes(figure)
    found = "none is suggested" if row is None else f"suggested is {row['eps']:g}, with {row['clusters']:.0f} clusters"
    return Picture(
        name="suggestion",
        alt=f"Clusters, outliers and largest cluster for eps from {table['eps'].min():g} to {table['eps'].max():g}; "
        f"{found}.",
        caption="Above the dotted line, clusters have flowed together.",
        png=png,
    )
