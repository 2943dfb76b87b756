"""The memory of cluster centroids and its momentum update (DyCL, Eq. 5-7 of the paper).

For each cluster c of the global batch with its student embeddings q_i (i = 1..M):

    w_i = softmax_i(-<q_i, C_c> / τ)                     the farthest instance weighs most
    C_c <- normalize(m C_c + (1 - m) sum_i w_i q_i)

He et al., ICASSP 2024 (arXiv 2303.06810). τ -> 0 is `hard` (only the least similar instance), τ -> ∞ is `mean`;
`instance` is Cluster Contrast's rule (Dai et al., ACCV 2022): one instance after another, in batch order.

B: images in the global batch · K: clusters · P: clusters in the batch · D: width of the embedding.
"""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.common.transfer import send
from pipeline.config.schema import ClusterUpdate

UPDATES: tuple[str, ...] = get_args(ClusterUpdate)


class ClusterMemory(nn.Module):
    """One L2-normalised row per cluster, moved towards the instances of each batch.

    Args:
        centroids: of shape (K, D); kept in float32 (float64 stays), normalised, copied.
        momentum: m in [0, 1], the share of the old row that is kept.
        update: one of `UPDATES`.
        tau: τ > 0 of `dynamic`; not used by the others.

    Raises:
        ValueError: `momentum`, `update` or `tau` is out of range, or there is no row.
    """

    centroids: torch.Tensor

    def __init__(self, centroids: torch.Tensor, *, momentum: float, update: str, tau: float = 0.05) -> None:
        super().__init__()
        if centroids.ndim != 2 or len(centroids) == 0:
            raise ValueError(f"the memory needs centroids of shape (K, D) with K > 0, got {tuple(centroids.shape)}")
        check_momentum(momentum)
        if update not in UPDATES:
            raise ValueError(f"update must be one of {', '.join(UPDATES)}, got {update!r}")
        if not tau > 0:
            raise ValueError(f"tau must be above 0, got {tau}")
        self.momentum, self.update_rule, self.tau = momentum, update, tau
        wide = centroids if centroids.dtype == torch.float64 else centroids.float()
        self.register_buffer("centroids", F.normalize(wide.detach(), dim=1))

    @torch.no_grad()
    def update_(self, features: torch.Tensor, labels: torch.Tensor, images: torch.Tensor | None = None) -> None:
        """Moves the rows of the clusters that occur in the batch.

        Args:
            features: student embeddings of the whole global batch, of shape (B, D).
            labels: their clusters in [0, K), of shape (B,), on the CPU: from elsewhere they have to be waited for.
            images: which they are, of shape (B,); not used: a memory of instances (`HybridMemory`) needs it.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.detach().to(self.centroids.dtype)
            if self.update_rule == "instance":
                move_in_order_(self.centroids, labels, features, momentum=self.momentum)
                return
            labels = labels.cpu()
            chosen = labels.unique()  # (P,), ascending
            clusters, labels = send(torch.cat([chosen, labels]), features.device).split([len(chosen), len(labels)])
            belongs = clusters[:, None] == labels[None, :]  # (P, B)
            weights = self._weights(features, labels, belongs)  # (P, B), every row sums to 1
            # A matrix product instead of a scatter: the order of its sums is fixed, on CUDA too.
            move_(self.centroids, clusters, weights @ features, momentum=self.momentum)

    def _weights(self, features: torch.Tensor, labels: torch.Tensor, belongs: torch.Tensor) -> torch.Tensor:
        if self.update_rule == "mean":
            share = belongs.to(features.dtype)
            return share / share.sum(dim=1, keepdim=True)
        similarity = (features * self.centroids[labels]).sum(dim=1)  # (B,) <q_i, C_y(i)>
        nothing = torch.full((), float("-inf"), dtype=features.dtype, device=features.device)
        score = torch.where(belongs, -similarity[None, :], nothing)  # (P, B)
        if self.update_rule == "hard":
            return F.one_hot(score.argmax(dim=1), len(labels)).to(features.dtype)
        return F.softmax(score / self.tau, dim=1)


def check_momentum(momentum: float) -> None:
    """Raises ValueError unless it is in [0, 1]."""
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must be in [0, 1], got {momentum}")


def move_(rows: torch.Tensor, chosen: torch.Tensor, towards: torch.Tensor, *, momentum: float) -> None:
    """rows[chosen] <- normalize(momentum rows[chosen] + (1 - momentum) towards); none is chosen twice."""
    rows[chosen] = F.normalize(momentum * rows[chosen] + (1 - momentum) * towards, dim=1)


def move_in_order_(rows: torch.Tensor, chosen: torch.Tensor, towards: torch.Tensor, *, momentum: float) -> None:
    """As `move_`, one after another: a row that is chosen several times moves several times, in this order."""
    # The n-th occurrence of every row can move at once: rows do not touch each other. As many rounds as the most
    # frequent one has, not as there are occurrences.
    chosen = chosen.cpu()
    order = chosen.argsort(stable=True)
    ordered = chosen[order]
    occurrence = torch.arange(len(chosen)) - torch.searchsorted(ordered, ordered)  # how many of its row came before
    order = order[occurrence.argsort(stable=True)]
    turns = send(torch.stack([order, chosen[order]]), rows.device).split(occurrence.bincount().tolist(), dim=1)
    for now, moved in turns:
        move_(rows, moved, towards[now], momentum=momentum)
