"""What to tell the user where an epoch finds too few clusters for a batch: which setting to turn which way, and why.

The clusters over the eps of `EPS`, of the embeddings that were just clustered, say which.
"""

from dataclasses import dataclass

import pandas as pd

from pipeline.clustering.eps_choice import LARGEST, suggested
from pipeline.common.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TooFew:
    """An epoch without clusters enough for a batch.

    Attributes:
        found: clusters; `images` of the training, among which they are.
        batch, instances: images in a batch, and of each of its clusters.
        eps: of this epoch.
        start: the setting `clustering.eps`, from which `eps` has come down.
        min_samples: the setting.
    """

    found: int
    images: int
    batch: int
    instances: int
    eps: float
    start: float
    min_samples: int

    def error(self, table: pd.DataFrame, *, k1: int) -> UserError:
        """What is wrong and what to do.

        Args:
            table: of `eps_choice.clusterings`, of these embeddings.
            k1: as in `suggested`.
        """
        needed = self.batch // self.instances
        number = "no cluster" if self.found == 0 else "1 cluster" if self.found == 1 else f"{self.found} clusters"
        what = (
            f"{number} among {self.images} images at eps {self.eps:.3g}, and a batch needs {needed} (sampler.batch "
            f"{self.batch} / sampler.instances {self.instances})"
        )
        columns = zip(table["eps"], table["clusters"], table["largest"], strict=True)
        curve = ", ".join(f"{eps:g}: {clusters} ({100 * share:.0f}%)" for eps, clusters, share in columns)
        advice = self._advice(suggested(table, k1=k1), needed)
        return UserError(what, f"{advice}. Clusters by eps, and the share of the largest: {curve}")

    def _advice(self, row: pd.Series | None, needed: int) -> str:
        if row is None:
            return (
                f"no eps parts these images (two clusters, none with more than {100 * LARGEST:.0f}% of them): start "
                f"from better weights (pretrained), or lower clustering.min_samples, {self.min_samples} now"
            )
        eps, clusters = float(row["eps"]), int(row["clusters"])
        turn = self._turn(eps)
        if clusters >= needed:
            return f"{turn}, which finds {clusters}"
        batch = max(2, clusters // 2) * self.instances
        return (
            f"no eps finds so many: lower sampler.batch to {batch} and model.bn_group to {batch} (or a divisor), and "
            f"{turn}, which finds {clusters}"
        )

    def _turn(self, eps: float) -> str:
        come_down = self.eps < 0.95 * self.start  # the schedule shrinks the first epoch's a little
        if eps > self.eps and come_down:
            return (
                f"keep eps, which has come down from {self.start:g}, by clustering.eps_schedule=fix and "
                f"clustering.eps={eps:g}"
            )
        if abs(eps - self.eps) < 0.02:
            return f"keep clustering.eps={self.start:g}"
        return f"{'raise' if eps > self.eps else 'lower'} clustering.eps to {eps:g}"
