"""Same or different: the ROC curve over pairs, and what the model's own threshold is worth."""

import pandas as pd
from matplotlib.ticker import FuncFormatter, NullLocator

from pipeline.report.contents import ReportData
from pipeline.report.figures.drawing import BLUE, ORANGE, Picture, Table, canvas, png_bytes
from pipeline.report.wording import percent


def verification_figure(data: ReportData) -> Picture | None:
    """True against false positive rate of a threshold on the cosine; None where no pair could be looked at."""
    curve, numbers = data.tables.get("roc"), data.tables.get("verification")
    if curve is None or curve.empty or numbers is None or numbers.empty or curve["tpr"].isna().all():
        return None
    if not curve["fpr"].any():  # the test set shows one identity alone
        return None
    row = numbers.iloc[0]
    lowest = float(curve["fpr"][curve["fpr"] > 0].min())
    with canvas() as (figure, axes):
        ax = axes[0]
        ax.plot(curve["fpr"].clip(lower=lowest), 100 * curve["tpr"], color=BLUE)
        if "true_fpr" in row and row["true_fpr"] > 0:
            ax.plot(row["true_fpr"], 100 * row["true_tpr"], color=ORANGE, marker="o", linestyle="none")
            ax.annotate(
                "the model's own threshold",
                (row["true_fpr"], 100 * row["true_tpr"]),
                xytext=(-8, 8),
                textcoords="offset points",
                ha="right",
                color=ORANGE,
            )
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(xlim=(lowest, 1), ylim=(0, 101.5))
        ax.set(title="Same or different?", xlabel="share of the pairs of two identities", ylabel="pairs of one, %")
        png = png_bytes(figure)
    return Picture(
        name="verification",
        alt=f"ROC curve: {_told(row)}.{_own_threshold(row)}",
        caption="A pair of a query and a gallery image counts as one identity from some cosine on. Each point is such a"
        f" cosine: the share of false pairs and of right ones.{_own_threshold(row)}",
        png=png,
        section="ranking",
        table=_table(row),
    )


def _told(row: pd.Series) -> str:
    rates = [name for name in row.index if name.startswith("tpr_at_fpr_")]
    return "; ".join(
        f"{percent(row[name], unit=True)} of the right pairs at a false positive rate of {float(name[11:]):g}"
        for name in rates
    )


def _own_threshold(row: pd.Series) -> str:
    """What the model states of its threshold, and what is true here, in a sentence."""
    if "true_fpr" not in row:
        return ""
    return (
        f" The model's own threshold, {row['threshold']:.3f}, was set without labels for a rate of"
        f" {row['stated_fpr']:g}; here it is {row['true_fpr']:.2g}, with {percent(row['true_tpr'], unit=True)} of the"
        " right pairs."
    )


def _table(row: pd.Series) -> Table:
    names = {"tpr_at_fpr_": "pairs, at a false positive rate of", "dir_at_far_": "queries, at a false alarm rate of"}
    rows = tuple(
        (f"{title} {float(key.removeprefix(start)):g}", (percent(row[key]),))
        for start, title in names.items()
        for key in row.index
        if key.startswith(start)
    )
    caption = (
        "Percent that are right. Queries: the first place is right and above the threshold that so many queries reach"
        " whose identity was taken out of the gallery"
    )
    return Table(caption, ("", "%"), rows)
