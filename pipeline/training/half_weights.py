"""Working copies of a network's weights in half precision, made once per step.

Autocast makes such copies too: for a network that has no gradient, at every use; for one that has, it converts the
gradient of each weight of each BatchNorm group on its own. The bits are the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.model.narrow_maps import StridedConvolution

# What autocast would convert for: layers of just these types use their parameters for nothing else.
_LAYERS = (nn.Conv2d, StridedConvolution, nn.Linear)


class HalfWeights:
    """A network that is called with half-precision copies of the parameters of its convolutions and linear layers.

    Args:
        network: has a `backbone`, whose layers they are; called under autocast to `dtype`.
        dtype: bfloat16 or float16.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        self._network = network
        layers = [(name, layer) for name, layer in network.named_modules() if name.startswith("backbone.")]
        named = {
            f"{name}.{key}": parameter
            for name, layer in layers
            if type(layer) in _LAYERS
            for key, parameter in layer.named_parameters(recurse=False)
        }
        self._names, self._parameters = list(named), list(named.values())
        self._copies = [
            torch.empty_like(parameter, dtype=dtype).requires_grad_(parameter.requires_grad)
            for parameter in self._parameters
        ]

    def refresh(self) -> None:
        """Takes over the parameters as they are now."""
        with torch.no_grad():
            torch._foreach_copy_(self._copies, self._parameters)

    def __call__(self, images: Tensor) -> Tensor:
        """The network's embeddings (B, D) of images (B, 3, H, W)."""
        copies = dict(zip(self._names, self._copies, strict=True))
        return torch.func.functional_call(self._network, copies, (images,))

    def leaves(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """In place of each parameter the tensor in which the embeddings can be differentiated."""
        copies = {id(parameter): copy for parameter, copy in zip(self._parameters, self._copies, strict=True)}
        return [copies.get(id(parameter), parameter) for parameter in parameters]
