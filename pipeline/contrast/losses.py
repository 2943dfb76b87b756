"""The loss of DCCC: cluster contrast with targets that the teacher softens (L_ss, Eq. 8-10 of the paper).

    L_c  = CE(q Cᵀ / t, y)
    T    = (1 - σ) onehot(y) + σ softmax(p Cᵀ / t)          no gradient
    L_ss = -mean_i sum_c T[i, c] log softmax(q Cᵀ / t)[i, c]
    L    = (1 - w) L_c + w L_ss

Where images have weights (`camera_weights.py`), L_c and L_ss are means of the weighted losses of the images.

He et al., "Dynamic Clustering and Cluster Contrastive Learning for Unsupervised Person Re-ID with Feature
Distribution Alignment", ICASSP 2024 (arXiv 2303.06810).

B: images in the global batch · K: clusters · D: width of the embedding.
"""

import torch
import torch.nn.functional as F


def contrastive_loss(
    student: torch.Tensor,
    teacher: torch.Tensor | None,
    centroids: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float,
    smoothing: float,
    weight: float,
    images: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cluster contrast of a batch against the centroids, in single (or double) precision whatever autocast says.

    Args:
        student: q, L2-normalised embeddings of view 1, of shape (B, D). The gradient flows into these alone.
        teacher: p, L2-normalised embeddings of view 2, of shape (B, D). None only where `smoothing` is 0.
        centroids: C, L2-normalised, of shape (K, D), as they were before this step's update.
        labels: y, pseudo labels in [0, K), of shape (B,).
        temperature: t > 0.
        smoothing: σ in [0, 1], the teacher's share of the soft target.
        weight: w in [0, 1], the share of L_ss in the total.
        images: weights of the images, of shape (B,), 1 on average or so; None: all weigh the same.

    Returns:
        L, L_c and L_ss, three scalars. Only L carries what should be differentiated; all three are differentiable.

    Raises:
        ValueError: `temperature`, `smoothing` or `weight` is out of range, or the teacher is missing.
    """
    _check(temperature, smoothing, weight)
    with torch.autocast(student.device.type, enabled=False):
        student = student if student.dtype == torch.float64 else student.float()
        centroids = centroids.detach().to(student.dtype)
        log_probability = F.log_softmax(student @ centroids.T / temperature, dim=1)  # (B, K)
        if images is None:
            hard = F.nll_loss(log_probability, labels)  # to the bit what it always was
        else:
            hard = _mean(F.nll_loss(log_probability, labels, reduction="none"), images)
        if smoothing == 0:
            soft = hard
        else:
            if teacher is None:
                raise ValueError(f"smoothing is {smoothing}: the loss needs the teacher's embeddings")
            with torch.no_grad():
                softened = F.softmax(teacher.to(student.dtype) @ centroids.T / temperature, dim=1)  # (B, K)
            soft = (1 - smoothing) * hard - smoothing * _mean((softened * log_probability).sum(dim=1), images)
        return (1 - weight) * hard + weight * soft, hard, soft


def _mean(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return losses.mean() if weights is None else (weights.to(losses.dtype) * losses).mean()


def _check(temperature: float, smoothing: float, weight: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must be in [0, 1], got {smoothing}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be in [0, 1], got {weight}")
