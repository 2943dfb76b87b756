"""Where the time of an epoch goes, as stacked bars."""

import numpy as np

from pipeline.report.contents import ReportData
from pipeline.report.figures.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, Picture, canvas, finish, png_bytes
from pipeline.report.wording import percent

# Column of the history -> label, in the order in which an epoch does it.
PARTS = {
    "seconds_extract": "embedding the images",
    "seconds_neighbours": "nearest neighbours",
    "seconds_jaccard": "Jaccard distance",
    "seconds_dbscan": "DBSCAN",
    "seconds_recall": "check of the neighbours",
    "seconds_train": "training steps",
}
_COLOURS = (ORANGE, GREEN, PURPLE, "#8A6D00", GREY)
_HATCHES = ("//", "..", "xx", "\\\\", "--", "||", "++")


def time_figure(data: ReportData) -> Picture | None:
    """Seconds per part of an epoch, stacked; None if no part was timed.

    The history has a column `seconds_<part>` for each; a part without a label here is labelled with its own name.
    """
    history = data.history
    unknown = [name for name in history.columns if name.startswith("seconds_") and name not in PARTS]
    names = {**PARTS, **{name: name.removeprefix("seconds_").replace("_", " ") for name in unknown}}
    taken = {label: history[name].to_numpy(float) for name, label in names.items() if name in history}
    taken = {label: values for label, values in taken.items() if np.isfinite(values).any()}
    if not taken:
        return None
    totals = {label: float(np.nansum(values)) for label, values in taken.items()}
    whole = sum(totals.values()) or 1.0
    epochs = history["epoch"].to_numpy(int)
    with canvas() as (figure, axes):
        bottom = np.zeros(len(epochs))
        handles = []
        for position, (label, values) in enumerate(taken.items()):
            training = label == PARTS["seconds_train"]
            look = {"color": BLUE if training else _COLOURS[position % len(_COLOURS)], "edgecolor": "white"}
            hatch = None if training else _HATCHES[position % len(_HATCHES)]
            height = np.nan_to_num(values)
            bars = axes[0].bar(
                epochs,
                height,
                width=1 if len(epochs) > 60 else 0.8,
                bottom=bottom,
                hatch=hatch,
                linewidth=0 if len(epochs) > 60 else 0.3,
                **look,
            )
            handles.append((bars, f"{label} {_share(totals[label] / whole)}"))
            bottom = bottom + height
        finish(axes[0], history, [], title="Time of an epoch", ylabel="seconds")
        axes[0].set_xlim(epochs.min() - 0.9, epochs.max() + 0.9)
        axes[0].set_ylim(0, 1.05 * bottom.max() if bottom.max() > 0 else 1)
        axes[0].grid(visible=False, axis="x")
        figure.legend(*zip(*handles, strict=True), loc="outside lower left", ncols=2)
        png = png_bytes(figure)
    parts = "; ".join(
        f"{label} {total / len(epochs):.2f} s, {_share(total / whole)}" for label, total in totals.items()
    )
    return Picture(
        name="time",
        alt=f"Seconds by part of an epoch, on average: {parts}.",
        caption="What an epoch spends its time on; beside each part, its share of the whole training. Evaluations and"
        " the writing of checkpoints are not in it.",
        png=png,
        section="learning",
    )


def _share(fraction: float) -> str:
    return "< 0.1%" if 0 < fraction < 0.0005 else percent(fraction, unit=True)
