"""Forward and backward passes of a network over the BatchNorm groups of a batch, each group by itself.

On a GPU a pass is hundreds of small kernels, and a processor needs longer to launch them than the GPU to compute them.
`RecordedPasses` records the kernels of each group as CUDA graphs in its first step and replays them in all others: the
same kernels on the same numbers, so the same bits, without the launches.

b: images of this process · g: images of a BatchNorm group · D: width of the embedding · P: parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.common.precision import Precision
from pipeline.model import take_statistics_
from pipeline.model.drop_path import give_factors_


class FlatGradient:
    """The gradients of all parameters as one row (P,), each parameter's in the order of its memory.

    Args:
        parameters: that get gradients; the layout of their memory stays as it is.
        leaves: in place of each parameter the tensor in which embeddings are differentiated.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], leaves: Sequence[torch.Tensor]) -> None:
        # Of one type side by side: a row then is one concatenation per type.
        places = sorted(range(len(leaves)), key=lambda place: str(leaves[place].dtype))
        self._parameters, self._leaves = [parameters[place] for place in places], [leaves[place] for place in places]
        self._orders = [_memory_order(parameter) for parameter in self._parameters]

    def of(self, embeddings: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The row of embeddings (g, D) with the gradient (g, D) of the loss with respect to them."""
        gradients = torch.autograd.grad(embeddings, self._leaves, gradient)
        flat = [each.permute(order).reshape(-1) for each, order in zip(gradients, self._orders, strict=True)]
        kinds = dict.fromkeys(each.dtype for each in flat)
        parts = [torch.cat([each for each in flat if each.dtype == kind]) for kind in kinds]
        dtype = self._parameters[0].dtype
        return parts[0].to(dtype) if len(parts) == 1 else torch.cat([part.to(dtype) for part in parts])

    def give(self, row: torch.Tensor) -> None:
        """Makes the row the gradients of the parameters, without a copy."""
        sizes = [parameter.numel() for parameter in self._parameters]
        for parameter, part in zip(self._parameters, row.split(sizes), strict=True):
            parameter.grad = part.as_strided(parameter.shape, parameter.stride())


class Passes:
    """Passes as PyTorch issues them.

    Args:
        network: whose statistics are taken after each group.
        call: the network, or what stands for it: images (g, 3, H, W) -> embeddings (g, D).
        precision: of the passes.
        gradient: of the network's parameters; None for a network that is not trained.
    """

    def __init__(
        self,
        network: nn.Module,
        call: Callable[[torch.Tensor], torch.Tensor],
        *,
        precision: Precision,
        gradient: FlatGradient | None,
    ) -> None:
        self._network, self._call, self._precision, self._gradient = network, call, precision, gradient
        self._embeddings: list[torch.Tensor] = []

    def forward(
        self, groups: Sequence[torch.Tensor], factors: Sequence[torch.Tensor] | None = None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Embeddings (g, D), without a gradient, and statistics (see `take_statistics_`) of each group.

        Args:
            groups: (g, 3, H, W) each.
            factors: of the stochastic depth of each group (see `draw_factors`); None: all paths are kept.
        """
        if factors is None:
            passed = [self._forward(group) for group in groups]
        else:
            passed = [self._forward(group, drops) for group, drops in zip(groups, factors, strict=True)]
        if self._gradient is not None:
            self._embeddings = [embeddings for embeddings, _ in passed]
        return [embeddings.detach() for embeddings, _ in passed], [statistics for _, statistics in passed]

    def backward(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """A row (P,) for each group of the last `forward`.

        Args:
            gradients: of the loss with respect to the embeddings of each group, (g, D).
        """
        assert self._gradient is not None, "this network is not trained"
        embeddings, self._embeddings = self._embeddings, []
        return [self._backward(one, gradient) for one, gradient in zip(embeddings, gradients, strict=True)]

    def _forward(self, group: torch.Tensor, factors: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        give_factors_(self._network, factors)
        with torch.set_grad_enabled(self._gradient is not None), self._precision.forward():
            return self._call(group), take_statistics_(self._network)

    def _backward(self, embeddings: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        assert self._gradient is not None
        with self._precision.products():
            return self._gradient.of(embeddings, gradient)


@dataclass
class _Recorded:
    """The graphs of one group, and the memory that they read and write."""

    images: torch.Tensor
    forward: torch.cuda.CUDAGraph
    embeddings: torch.Tensor
    statistics: torch.Tensor
    gradient: torch.Tensor | None = None
    backward: torch.cuda.CUDAGraph | None = None
    row: torch.Tensor | None = None


class RecordedPasses(Passes):
    """Passes that are recorded once and replayed, always in the order in which they were recorded."""

    _recorded: list[_Recorded] | None = None

    def forward(
        self, groups: Sequence[torch.Tensor], factors: Sequence[torch.Tensor] | None = None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        assert factors is None, "a recorded pass would repeat the choices with which it was recorded"
        if self._recorded is None:
            self._recorded = self._record(groups)
        for recorded, group in zip(self._recorded, groups, strict=True):
            recorded.images.copy_(group)
            recorded.forward.replay()
        return [each.embeddings for each in self._recorded], [each.statistics for each in self._recorded]

    def backward(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        rows = []
        for recorded, gradient in zip(self._recorded or (), gradients, strict=True):
            assert recorded.gradient is not None and recorded.backward is not None and recorded.row is not None
            recorded.gradient.copy_(gradient)
            recorded.backward.replay()
            rows.append(recorded.row)
        return rows

    def _record(self, groups: Sequence[torch.Tensor]) -> list[_Recorded]:
        """Raises UserError if the network does what cannot be recorded."""
        self._warm_up(groups[0])  # what fails here fails without graphs too
        try:
            pool = torch.cuda.graph_pool_handle()
            # All groups go forward before the first goes backward: their graphs share memory in this order.
            recorded = [self._record_forward(group, pool) for group in groups]
            for each in recorded if self._gradient is not None else ():
                self._record_backward(each, pool)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"train.cuda_graphs: this network cannot be recorded as a CUDA graph ({reason})", "set it to false"
            ) from error
        return recorded

    def _warm_up(self, group: torch.Tensor) -> None:
        """Libraries choose kernels and take memory for them at first use, which cannot be recorded."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                embeddings, _ = self._forward(group)
                if self._gradient is not None:
                    self._backward(embeddings, torch.zeros_like(embeddings))
                del embeddings
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.empty_cache()

    def _record_forward(self, group: torch.Tensor, pool: Any) -> _Recorded:
        images, graph = group.clone(memory_format=torch.preserve_format), torch.cuda.CUDAGraph()
        # Other threads copy to and from the device meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            embeddings, statistics = self._forward(images)
        if self._gradient is None:
            return _Recorded(images, graph, embeddings, statistics)
        self._embeddings.append(embeddings)
        return _Recorded(images, graph, embeddings.detach(), statistics, torch.zeros_like(embeddings))

    def _record_backward(self, recorded: _Recorded, pool: Any) -> None:
        assert recorded.gradient is not None
        recorded.backward = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded.backward, pool=pool, capture_error_mode="thread_local"):
            recorded.row = self._backward(self._embeddings.pop(0), recorded.gradient)


def _memory_order(tensor: torch.Tensor) -> list[int]:
    """Dimensions from the one with the longest strides to the one whose elements lie side by side."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda dimension: -strides[dimension])
