"""Parts of a backbone that are not trained.

A frozen part is a fixed function of its input: its parameters stay, and its BatchNorms normalise by their running
statistics, those of the starting weights, which stay too.
"""

from collections.abc import Sequence

from torch import nn

from pipeline.common.errors import UserError
from pipeline.model.batchnorm import freeze_statistics_


def freeze_(body: nn.Module, parts: Sequence[str], *, backbone: str) -> None:
    """Freezes parts of a network.

    Args:
        body: whose parts they are.
        parts: dotted names as those of `body`'s parameters begin: "layer1", "blocks.0", "pos_embed".
        backbone: what the body is called, for the message.

    Raises:
        UserError: a part has no parameter.
    """
    names = [name for name, _ in body.named_parameters()]
    for part in parts:
        frozen = [name for name in names if _lies_in(name, part)]
        if not frozen:
            there = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise UserError(f"model.freeze: {backbone} has no part {part!r}; its parts are {there}")
        for name in frozen:
            body.get_parameter(name).requires_grad_(False)
        for name, module in body.named_modules():
            if _lies_in(name, part):
                freeze_statistics_(module)


def _lies_in(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
