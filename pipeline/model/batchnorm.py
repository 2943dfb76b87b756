"""Batch normalization in groups of images, so that a result does not depend on how many processes made it.

The published DCCC runs spread a batch of 256 over 4 GPUs with DataParallel: every BatchNorm saw 64 images, while the
loss and the memory saw all 256. The same batch on one GPU is another algorithm (statistics over 256 images), and the
scores of this field are known to move with it. So the group is a setting here, `group_size`: one process normalizes
its 256 images as 4 groups of 64, four processes have one group each, and both compute the same.

The running statistics have to agree as well. Torch moves them during the forward pass, once per call, so one
process with 4 groups would move them 4 times and four processes would each hold their own. Here the forward pass only
keeps the statistics of its groups, and `commit_statistics_` moves the running ones once per step, by the mean over all
groups of all processes. Statistics are those of `torch.nn.BatchNorm2d`: biased variance to normalize, unbiased
variance for the running one.

Source: Ioffe & Szegedy, "Batch Normalization", ICML 2015; groups as in "ghost" batch normalization (Hoffer et al.,
"Train longer, generalize better", NeurIPS 2017).

Shapes: B images of this process, C channels, g images per group (`group_size`), G = B / g groups, S = sum of 2 C over
all layers.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM = 0.1  # share of the new statistics, torch's default


def group_size(model: nn.Module) -> int | None:
    """g, the images that the grouped BatchNorms of `model` normalize together; None where it has no such limit."""
    return next((layer.group_size for layer in model.modules() if isinstance(layer, _Grouped)), None)


def take_statistics_(model: nn.Module) -> Tensor:
    """The statistics (G, S) of the last forward pass in train mode, given away; (1, 0) of a model without BatchNorm."""
    kept = [layer.take_statistics_() for layer in _moving(model)]
    return torch.cat(kept, dim=1) if kept else torch.zeros(1, 0)


@torch.no_grad()
def commit_statistics_(
    model: nn.Module, rows: Tensor | None = None, *, reduce: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Moves the running statistics of every grouped BatchNorm of `model`, once, by those of one step.

    Call it once per step, after a forward pass in train mode, for the student and for the teacher. Both running
    statistics become (1 - m) old + m x mean over all groups, m = `MOMENTUM` unless a layer was told another. The mean
    is summed group by group in the order of the rows, so the same rows give the same bits whatever the number of
    processes and threads.

    Args:
        model: holds `GroupedBatchNorm1d` and `GroupedBatchNorm2d` layers.
        rows: (G, S), what `take_statistics_` gave for the groups of this process; None: of the last forward pass.
        reduce: collects the rows of all processes, (G, S) -> (G of all processes, S), in the order of the ranks; it
            is called once. None: this process is the only one.
    """
    layers = _moving(model)
    if not layers:
        return
    rows = take_statistics_(model) if rows is None else rows
    if reduce is not None:
        rows = reduce(rows)
    mean = _mean_of_rows(rows)  # (S,)
    parts = mean.split([layer.num_features for layer in layers for _ in range(2)])
    running = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var)]
    shares = [layer.share for layer in layers for _ in range(2)]
    for share in dict.fromkeys(shares):
        chosen = [place for place, one in enumerate(shares) if one == share]
        moved = [running[place] for place in chosen]
        torch._foreach_mul_(moved, 1 - share)
        torch._foreach_add_(moved, [parts[place] for place in chosen], alpha=share)
    torch._foreach_add_([layer.num_batches_tracked for layer in layers], 1)


def freeze_statistics_(layer: nn.Module) -> None:
    """Lets a grouped BatchNorm normalise by its running statistics in train mode too, where they stay as they are."""
    if isinstance(layer, _Grouped):
        layer.frozen = True


class _Grouped(nn.modules.batchnorm._BatchNorm):
    """What the layers for (B, C) and for (B, C, H, W) share; parameters, buffers and their names are torch's."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        group_size: int | None = None,
        eps: float = 1e-5,
        momentum: float = MOMENTUM,
        affine: bool = True,
    ) -> None:
        """
        Args:
            num_features: C.
            group_size: g, images per group; None = the whole batch of this process is one group.
            eps: added to the variance.
            momentum: share of the new statistics in the running ones.
            affine: scale and shift by learned parameters.
        """
        super().__init__(num_features, eps=eps, momentum=momentum, affine=affine)
        self.group_size = group_size
        self.share = momentum
        self.frozen = False
        # (G, 2 C): mean and unbiased variance of each group of the last forward pass in train mode.
        self.group_statistics: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes each group by its own statistics (train), or everything by the running ones (eval, or frozen).

        Args:
            x: (B, C) or (B, C, H, W), float.

        Returns:
            The shape and memory format of `x`.

        Raises:
            ValueError: in train mode, B is not a multiple of the group size, or a group has one value per channel.
        """
        self._check_input_dim(x)
        if not self.training or self.frozen:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        size = self._checked_group_size(x)
        num_groups = x.shape[0] // size
        # With momentum 1 torch leaves in these "running" buffers exactly the statistics of the group.
        statistics = self.running_mean.new_zeros(num_groups, 2, self.num_features)
        self.group_statistics = statistics.flatten(1)
        groups = (x,) if num_groups == 1 else x.split(size)  # the derivative of a split, even of one piece, is a copy
        outputs = [
            F.batch_norm(group, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
            for group, (mean, variance) in zip(groups, statistics, strict=True)
        ]
        return outputs[0] if num_groups == 1 else torch.cat(outputs)

    def take_statistics_(self) -> Tensor:
        """Gives the (G, 2 C) statistics of the last forward pass away, so that no step counts them twice."""
        statistics, self.group_statistics = self.group_statistics, None
        assert statistics is not None, "commit_statistics_ needs a forward pass in train mode before each call"
        return statistics

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, group_size={self.group_size}"

    def _checked_group_size(self, x: Tensor) -> int:
        batch = x.shape[0]
        size = batch if self.group_size is None else self.group_size
        if batch == 0 or batch % size:
            raise ValueError(f"the batch of a process must be a multiple of group_size {size}, got {batch} images")
        if size * x[0, 0].numel() < 2:
            raise ValueError("a group of one value per channel cannot be normalized: group_size must be 2 or more")
        return size


class GroupedBatchNorm1d(_Grouped, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` in groups of images, for (B, C)."""


class GroupedBatchNorm2d(_Grouped, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` in groups of images, for (B, C, H, W)."""


def _moving(model: nn.Module) -> list[_Grouped]:
    """The layers whose running statistics a step moves."""
    return [layer for layer in model.modules() if isinstance(layer, _Grouped) and not layer.frozen]


def _mean_of_rows(rows: Tensor) -> Tensor:
    # Not rows.mean(0): the order in which that adds up depends on the number of threads.
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total / len(rows)
