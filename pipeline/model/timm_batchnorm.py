"""timm's BatchNorms as grouped ones: same parameters, buffers, eps and momentum, other statistics in training."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.model.batchnorm import GroupedBatchNorm1d, GroupedBatchNorm2d


class GroupedBatchNormAct2d(GroupedBatchNorm2d):
    """timm's `BatchNormAct2d` in groups of images: BatchNorm, then what it drops, then its activation."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


def group_batchnorms_(model: nn.Module, names: Iterable[str], *, group_size: int | None) -> None:
    """Replaces the BatchNorms of `model` that are named; parameters and buffers stay the objects that they are.

    Raises:
        ValueError: one of them is of a kind, or has settings, for which there is no grouped one.
    """
    named = dict(model.named_modules(remove_duplicate=False))
    grouped = {id(named[name]): _grouped(name, named[name], group_size) for name in names}
    for name, module in named.items():
        if id(module) in grouped:  # under each of its names
            model.set_submodule(name, grouped[id(module)])


def _grouped(name: str, old: nn.Module, group_size: int | None) -> nn.Module:
    from timm.layers.norm_act import BatchNormAct2d

    kinds: dict[type[nn.Module], type[GroupedBatchNorm1d] | type[GroupedBatchNorm2d]] = {
        nn.BatchNorm1d: GroupedBatchNorm1d,
        nn.BatchNorm2d: GroupedBatchNorm2d,
        BatchNormAct2d: GroupedBatchNormAct2d,
    }
    if type(old) not in kinds or not isinstance(old, _BatchNorm):
        raise ValueError(f"its layer {name} is a {type(old).__name__}, which cannot be grouped")
    if not old.track_running_stats or old.momentum is None:
        raise ValueError(f"its BatchNorm {name} keeps no running statistics by momentum")
    new = kinds[type(old)](
        old.num_features, group_size=group_size, eps=old.eps, momentum=old.momentum, affine=old.affine
    )
    new.weight, new.bias = old.weight, old.bias
    for key, buffer in old.named_buffers(recurse=False):
        setattr(new, key, buffer)
    for key, child in old.named_children():
        new.add_module(key, child)
    return new.train(old.training)
