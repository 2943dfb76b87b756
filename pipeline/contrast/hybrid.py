"""SpCL's memory: one row per instance, and the classes that these form: clusters, and every outlier by itself.

For an image i of the batch with its student embedding q_i, one after another in batch order:

    V_i <- normalize(m V_i + (1 - m) q_i)
    C_c  = mean of V_i over the images i of class c             not normalised: q Cᵀ is the mean of the class's logits

Ge et al., "Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID", NeurIPS 2020
(arXiv 2006.02713), without its source domain.

N: training images · B: images in the global batch · K: classes · D: width of the embedding.
"""

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.common.transfer import send
from pipeline.contrast.memory import check_momentum, move_in_order_


class HybridMemory(nn.Module):
    """An L2-normalised row for every image; classes are means of rows.

    Args:
        features: of shape (N, D); kept in float32 (float64 stays), normalised, copied.
        classes: of each image, of shape (N,), from 0 to K - 1, none left out.
        momentum: m in [0, 1], the share of the old row that is kept.

    Raises:
        ValueError: `momentum` is out of range, there is no row, no class for a row, or no row for a class.
    """

    features: torch.Tensor
    centroids: torch.Tensor
    classes: torch.Tensor

    def __init__(self, features: torch.Tensor, classes: torch.Tensor, *, momentum: float) -> None:
        super().__init__()
        if features.ndim != 2 or len(features) == 0 or classes.shape != features.shape[:1]:
            raise ValueError(
                "the memory needs features (N, D) with N > 0 and a class for each, got "
                f"{tuple(features.shape)} and {tuple(classes.shape)}"
            )
        check_momentum(momentum)
        self.momentum = momentum
        wide = features if features.dtype == torch.float64 else features.float()
        self.register_buffer("features", F.normalize(wide.detach(), dim=1))
        self.register_buffer("classes", classes.clone())
        sizes = torch.bincount(classes.cpu())
        if bool((sizes == 0).any()):
            raise ValueError(f"class {int(sizes.argmin())} has no image: classes must be 0 to K - 1")
        # The images of class c are members[starts[c] : starts[c] + sizes[c]], in catalogue order; on the CPU, where
        # what depends on how many they are is waited for by nobody.
        self._members, self._sizes = classes.cpu().argsort(stable=True), sizes
        self._starts = sizes.cumsum(0) - sizes
        self.register_buffer("centroids", self._means(torch.arange(len(sizes))))

    @torch.no_grad()
    def update_(self, features: torch.Tensor, labels: torch.Tensor, images: torch.Tensor | None = None) -> None:
        """Moves the rows of the images of a batch, and the centroids of their classes.

        Args:
            features: student embeddings of the whole global batch, of shape (B, D).
            labels: their classes, of shape (B,), on the CPU: from elsewhere they have to be waited for.
            images: which they are, in [0, N), of shape (B,), likewise, never None; an image may occur several times.
        """
        assert images is not None, "a memory of instances has to know which they are"
        with torch.autocast(features.device.type, enabled=False):
            features = features.detach().to(self.features.dtype)
            move_in_order_(self.features, images, features, momentum=self.momentum)
            moved = labels.cpu().unique()
            self.centroids[send(moved, self.centroids.device)] = self._means(moved)

    def _means(self, chosen: torch.Tensor) -> torch.Tensor:
        """Means of the rows of some classes, of shape (P, D), from the rows: no error adds up over the steps."""
        sizes, starts = self._sizes[chosen], self._starts[chosen]
        # From the place of a row in what is returned before its mean to its place in `_members`.
        moved = (starts - (sizes.cumsum(0) - sizes)).repeat_interleave(sizes)
        images = self._members[torch.arange(len(moved)) + moved]
        images, sizes = send(torch.cat([images, sizes]), self.features.device).split([len(images), len(sizes)])
        # `unsafe`: the sizes add up to the rows, which torch would wait for to see.
        return torch.segment_reduce(self.features[images], "mean", lengths=sizes, unsafe=True)
