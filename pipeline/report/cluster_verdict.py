"""What is to be thought of the clusters of a run, in words, for somebody without labels.

The limits are rules of thumb, drawn from trainings on drawn people whose identities were known (docs/methods.md): of
people who were told apart well, of cameras that outweigh clothing, and of networks that had learned nothing.

N: training images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.report.signal_wording import MANY_SINGLE, UNSETTLED

APART, TOUCHING = 0.45, 0.25  # silhouette of clusters that can be trusted, and of such as chance makes
FEW_IMAGES = 500  # fewer of them have a high silhouette by chance too
MANY_OUTLIERS = 0.6  # share of the images; chance leaves so many in no cluster


@dataclass(frozen=True)
class ClusterVerdict:
    """A verdict on the clusters of the last epoch.

    Attributes:
        kind: trust | unsure | cameras | chance.
        text: a sentence for the user, without its full stop.
    """

    kind: str
    text: str


def cluster_verdict(
    history: pd.DataFrame, settings: Mapping[str, Any], *, images: int, random_start: bool
) -> ClusterVerdict | None:
    """The verdict on a run; None where too little of it was recorded.

    Args:
        history: one row per epoch, as in training.csv.
        settings: of the run.
        images: N.
        random_start: whether it started from random weights.
    """
    if history.empty or images == 0 or not {"num_outliers", "silhouette"} <= set(history):
        return None
    last = history.iloc[-1]
    apart, outliers = float(last["silhouette"]), float(last["num_outliers"]) / images
    single, agreement = (float(last.get(name, float("nan"))) for name in ("single_camera", "ari_last_epoch"))
    if single >= MANY_SINGLE:  # not where it is not known
        return ClusterVerdict("cameras", _cameras(settings))
    if pd.isna(apart) or apart < TOUCHING or outliers > MANY_OUTLIERS:
        return ClusterVerdict("chance", _chance(random_start))
    if apart >= APART and not agreement < UNSETTLED:
        if images < FEW_IMAGES:
            return ClusterVerdict(
                "unsure",
                f"the clusters are stable and stand apart, which {images} images may do by chance: look at them one by "
                "one (python -m stages.browse)",
            )
        cameras = "" if pd.isna(single) else " and mix cameras"
        return ClusterVerdict("trust", f"the clusters are stable, stand apart{cameras}: trust them")
    return ClusterVerdict(
        "unsure",
        "the clusters stand apart a little: much in them is right and much is not; train longer, or look at them one "
        "by one (python -m stages.browse)",
    )


def _cameras(settings: Mapping[str, Any]) -> str:
    found = "these clusters follow cameras, not individuals"
    if settings.get("clustering", {}).get("distance") == "camera_jaccard":
        return f"{found}, although the distance knows them: start from weights that know individuals (pretrained)"
    return f"{found}: try method=dccc_cam, or start from weights that know individuals (pretrained)"


def _chance(random_start: bool) -> str:
    found = "these clusters are near chance: the network has not learned to tell individuals apart"
    if random_start:
        return f"{found}; it started from random weights: start from published ones (pretrained=imagenet)"
    return f"{found}; start from weights of more similar images (pretrained), or train longer"
