"""What the signals of the clusters mean, in sentences for somebody without labels."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.clustering.signals import SIGNALS

# Above this share of single-camera clusters the report warns. A rule of thumb, not a test: people whom one camera
# alone has seen make such clusters too.
MANY_SINGLE = 0.25
SETTLED, UNSETTLED = 0.8, 0.5  # adjusted Rand index of two epochs


def signal_sentences(history: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """Sentences about the last epoch; none where nothing was recorded.

    Args:
        history: one row per epoch, with columns named as in `cluster_signals` where they are known.
        settings: of the run.
    """
    if history.empty:
        return []
    last = {name: float(history[name].iloc[-1]) for name in SIGNALS if name in history}
    known = {name: value for name, value in last.items() if not pd.isna(value)}
    said = []
    if "single_camera" in known:
        said.append(_cameras(known["single_camera"], known.get("camera_entropy"), settings))
    if "ari_last_epoch" in known:
        said.append(_settled(known["ari_last_epoch"]))
    return said


def _cameras(single: float, entropy: float | None, settings: Mapping[str, Any]) -> str:
    spread = "" if entropy is None else f" (camera entropy {entropy:.2f} of 1)"
    text = f"{100 * single:.0f}% of the last epoch's clusters hold one camera only{spread}"
    if single < MANY_SINGLE:
        return f"{text}: most clusters join cameras."
    aware = settings.get("clustering", {}).get("distance") == "camera_jaccard"
    advice = "" if aware else "; try clustering.distance=camera_jaccard"
    return f"{text}: the training may be learning cameras{advice}."


def _settled(agreement: float) -> str:
    text = (
        f"The last epoch's clusters agree with those of the epoch before by an adjusted Rand index of {agreement:.2f}"
    )
    if agreement >= SETTLED:
        return f"{text}: they have settled."
    if agreement >= UNSETTLED:
        return f"{text}: they still change."
    return f"{text}: they still change a lot, so more epochs may change the result."
