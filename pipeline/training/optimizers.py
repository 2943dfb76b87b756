"""The optimizers that a training can take, as the settings name them."""

from collections.abc import Callable, Mapping, Sequence

import torch

from pipeline.config.schema import Optimizer, OptimizerName

_Made = Callable[[Sequence[torch.nn.Parameter], Optimizer], torch.optim.Optimizer]

_MAKERS: Mapping[OptimizerName, _Made] = {
    "adam": lambda parameters, how: torch.optim.Adam(parameters, lr=how.lr, weight_decay=how.weight_decay),
    "adamw": lambda parameters, how: torch.optim.AdamW(parameters, lr=how.lr, weight_decay=how.weight_decay),
    "sgd": lambda parameters, how: torch.optim.SGD(
        parameters, lr=how.lr, weight_decay=how.weight_decay, momentum=how.momentum
    ),
}


def new_optimizer(parameters: Sequence[torch.nn.Parameter], settings: Optimizer) -> torch.optim.Optimizer:
    """An optimizer of the parameters, with the learning rate of the settings until it is told another one."""
    return _MAKERS[settings.name](parameters, settings)
