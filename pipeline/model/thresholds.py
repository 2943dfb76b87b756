"""From which cosine on two images show one individual: what a trained model carries beside its weights.

`pipeline.clustering.same_or_different` sets them at the end of a training, from its clusters, without labels.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.common.errors import UserError

Verdict = Literal["same", "unsure", "different"]
KEY = "thresholds"  # in the settings of a model: role -> the fields of `Thresholds`


@dataclass(frozen=True)
class Thresholds:
    """Two cosines, and what is expected of them.

    Attributes:
        same: two images that are at least so alike show one individual.
        unsure: two that are less alike than that show two.
        same_rate, unsure_rate: share of the pairs of two individuals that are above, as estimated without labels.
        same_recall: share of the pairs within a cluster, of two cameras where they are known, that are above `same`.
    """

    same: float
    unsure: float
    same_rate: float
    unsure_rate: float
    same_recall: float

    def verdict(self, cosine: float) -> Verdict:
        """What the cosine of two embeddings means."""
        return "same" if cosine >= self.same else "unsure" if cosine >= self.unsure else "different"

    def as_settings(self) -> dict[str, float]:
        """Plain values, for the settings of a model."""
        return asdict(self)

    @classmethod
    def of(cls, settings: Mapping[str, Any], role: str, path: Path) -> "Thresholds | None":
        """Those that the settings of the model `path` hold for one of its networks; None where they hold none.

        Raises:
            UserError: they are damaged.
        """
        found = settings.get(KEY)
        if found is None or (isinstance(found, dict) and found.get(role) is None):
            return None
        try:
            numbers = {name: float(found[role][name]) for name in cls.__dataclass_fields__}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is damaged: its thresholds are no numbers") from error
        if not all(map(math.isfinite, numbers.values())) or numbers["unsure"] > numbers["same"]:
            raise UserError(f"{path} is damaged: its thresholds are no two cosines in order")
        return cls(**numbers)
