"""Camera proxies: a memory with one row per pair of a cluster and a camera, and the loss against it.

With P_{c,k} the row of cluster c in camera k, and an image of cluster y and camera κ with its student embedding q:

    within   -log( e^{q P_{y,κ} / t} / sum_c e^{q P_{c,κ} / t} )          over the rows of its own camera
    across   -(1/|A|) sum_{p in A} log( e^{q p / t} / (sum_{p' in A} e^{q p' / t} + sum_{n in N} e^{q n / t}) )
             A: its cluster's rows in other cameras; N: the 50 rows of other clusters that are most similar to q

    P_{c,k} <- normalize(m P_{c,k} + (1 - m) mean of the batch's q of cluster c and camera k)

`across` draws what several cameras see of a cluster together; an image whose cluster one camera alone has seen has no
such term. Both are means over the batch, in which an image of no cluster counts 0.

Wang et al., "Camera-aware Proxies for Unsupervised Person Re-Identification", AAAI 2021 (arXiv 2012.10674), whose t and
number of rows in N these are. ICE, PPLR and O2CAP have the same form.

N: training images · B: images in the global batch · P: rows · D: width of the embedding.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pipeline.clustering import centroids
from pipeline.common.transfer import send
from pipeline.contrast.memory import move_

TEMPERATURE, MOMENTUM, NEGATIVES = 0.07, 0.2, 50


def proxy_rows(
    features: NDArray[np.float32], labels: NDArray[np.int64], cameras: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The rows (P, D) that an epoch begins with: normalised means of the images of each cluster in each camera.

    Args:
        features: (N, D), L2-normalised.
        labels: (N,) clusters, -1 for outliers.
        cameras: (N,) that took the images.
    """
    return centroids(features, _pairs(labels, cameras)[0])


class CameraProxies(nn.Module):
    """One L2-normalised row for every pair of a cluster and a camera that has seen it.

    Args:
        rows: (P, D) as of `proxy_rows` for the same labels and cameras, or as they were later; copied.
        labels: (N,) clusters, -1 for outliers.
        cameras: (N,) that took the images.

    Raises:
        ValueError: another number of rows than of pairs.
    """

    rows: torch.Tensor
    clusters: torch.Tensor
    cameras: torch.Tensor

    def __init__(self, rows: torch.Tensor, labels: NDArray[np.int64], cameras: NDArray[np.int64]) -> None:
        super().__init__()
        of_image, pairs = _pairs(labels, cameras)
        if len(rows) != len(pairs):
            raise ValueError(f"{len(pairs)} pairs of a cluster and a camera need as many rows, got {len(rows)}")
        self._of_image = torch.from_numpy(of_image)  # (N,), on the CPU, where batches are put together
        self.register_buffer("rows", rows.clone())
        # They follow from labels and cameras, so that a checkpoint needs no copy.
        for name, column in zip(("clusters", "cameras"), torch.from_numpy(pairs).T.contiguous(), strict=True):
            self.register_buffer(name, column.to(rows.device), persistent=False)

    def loss(self, student: torch.Tensor, images: torch.Tensor, *, across: bool) -> torch.Tensor:
        """The loss of a batch, a scalar: `within`, and `across` where it is asked for.

        Args:
            student: q, (B, D) L2-normalised; the gradient flows into these alone.
            images: (B,) which images they are, on the CPU.
            across: whether the term across cameras counts.
        """
        with torch.autocast(student.device.type, enabled=False):
            student = student if student.dtype == torch.float64 else student.float()
            own = send(self._of_image[images], student.device)
            in_cluster, own = own >= 0, own.clamp(min=0)
            logits = student @ self.rows.to(student.dtype).T / TEMPERATURE  # (B, P)
            same_camera = self.cameras[None] == self.cameras[own][:, None]
            nothing = torch.finfo(logits.dtype).min
            each = F.cross_entropy(logits.masked_fill(~same_camera, nothing), own, reduction="none")
            if across:
                same_cluster = self.clusters[None] == self.clusters[own][:, None]
                attracts = same_cluster & ~same_camera
                others = logits.masked_fill(same_cluster, nothing).topk(min(NEGATIVES, logits.shape[1]), dim=1).values
                against = torch.cat([logits.masked_fill(~attracts, nothing), others], dim=1).logsumexp(dim=1)
                terms = (against[:, None] - logits).masked_fill(~attracts, 0)
                each = each + terms.sum(dim=1) / attracts.sum(dim=1).clamp(min=1)
            return each.where(in_cluster, 0).mean()

    @torch.no_grad()
    def update_(self, student: torch.Tensor, images: torch.Tensor) -> None:
        """Moves the rows that the images (B,), on the CPU, belong to towards the means of their embeddings (B, D)."""
        own = self._of_image[images]
        chosen = own[own >= 0].unique()  # ascending
        if not len(chosen):
            return
        chosen, own = send(torch.cat([chosen, own]), student.device).split([len(chosen), len(own)])
        belongs = (chosen[:, None] == own[None]).to(self.rows.dtype)  # (pairs in the batch, B)
        with torch.autocast(student.device.type, enabled=False):
            means = belongs / belongs.sum(dim=1, keepdim=True) @ student.to(self.rows.dtype)
            move_(self.rows, chosen, means, momentum=MOMENTUM)


def _pairs(labels: NDArray[np.int64], cameras: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row of each image (N,), -1 for outliers, and cluster and camera of each row (P, 2), in ascending order."""
    members = np.flatnonzero(labels >= 0)
    pairs, inverse = np.unique(np.stack([labels, cameras], axis=1)[members], axis=0, return_inverse=True)
    of_image = np.full(len(labels), -1)
    of_image[members] = inverse.reshape(-1)
    return of_image, pairs.astype(np.int64)
