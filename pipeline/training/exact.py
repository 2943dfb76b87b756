"""The same bits on any number of processes: forward, backward and optimizer of one global batch.

Kernels add up in another order for another batch size, and a sum of sums is rounded differently from the sum. So each
BatchNorm group goes through a network by itself, forward and backward, in whichever process; and the gradients of the
groups are added up in one order. What depends on the whole batch, the loss and its gradient with respect to the
embeddings, every process computes.

B: global batch · b: images of this process · g: images of a BatchNorm group · D: width of the embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.common.precision import Precision
from pipeline.common.seeding import generator
from pipeline.common.transfer import send
from pipeline.config.schema import Optimizer
from pipeline.model import commit_statistics_, group_size
from pipeline.model.drop_path import draw_factors, drop_paths
from pipeline.model.embedding import layout_on
from pipeline.training.distributed import Processes
from pipeline.training.half_weights import HalfWeights
from pipeline.training.optimizers import new_optimizer
from pipeline.training.passes import FlatGradient, Passes, RecordedPasses


class Exact:
    """Steps of a student, and forward passes of a teacher, over the processes that train together.

    Args:
        student: (b, 3, H, W) -> (b, D), L2-normalised; on the device of `processes`.
        teacher: a copy of the student, or None for a method that has none; its parameters get no gradient.
        optimizer: which one, and its settings.
        precision: name of the networks' precision, see `Precision`.
        compiled: whether torch.compile makes the forward passes.
        recorded: whether the passes are CUDA graphs where they can be: on a GPU, without stochastic depth.
        processes: this process among those that train together.
        seed: the experiment's, from which the choices of stochastic depth follow.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        *,
        optimizer: Optimizer,
        precision: str,
        compiled: bool,
        processes: Processes,
        recorded: bool = True,
        seed: int = 0,
    ) -> None:
        self._student, self._processes, self._seed = student, processes, seed
        self._drops = bool(drop_paths(student))
        networks = (student,) if teacher is None else (student, teacher)
        for network in networks[1:]:
            network.requires_grad_(False)
        self._trainable = [p for p in student.parameters() if p.requires_grad]
        self._optimizer = new_optimizer(self._trainable, optimizer)
        self.precision = Precision(precision, processes.device)
        self._scaler = self.precision.scaler()
        self._layout = layout_on(processes.device)
        for network in networks:
            network.to(memory_format=self._layout)
        half = None if compiled else self.precision.half
        self._halves = {network: HalfWeights(network, half) for network in networks} if half else {}
        self._gradient = FlatGradient(
            self._trainable, self._halves[student].leaves(self._trainable) if half else self._trainable
        )
        recorded = recorded and processes.device.type == "cuda"
        self._passes = {
            network: (RecordedPasses if recorded and not (self._drops and network is student) else Passes)(
                network,
                # Not in place: an extraction comes with batches of other sizes, and would be compiled for each of them.
                _compiled(network) if compiled else self._halves.get(network, network),
                precision=self.precision,
                gradient=self._gradient if network is student else None,
            )
            for network in networks
        }

    def set_learning_rate(self, rate: float) -> None:
        """Of the steps that follow."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def embed(self, network: nn.Module, images: torch.Tensor, *, step: int | None = None) -> torch.Tensor:
        """Embeddings of the global batch, in rank order, the same in every process; moves the running statistics.

        Args:
            network: the student or the teacher.
            images: of this process, (b, 3, H, W).
            step: counted over all epochs; a student with stochastic depth needs it.

        Returns:
            (B, D). Those of the student are a leaf that requires a gradient, for the loss and for `optimize`.
        """
        whole = self._processes.gather(torch.cat(self._embed_groups(network, images, step)))
        return whole.requires_grad_() if network is self._student else whole

    def optimize(self, loss: torch.Tensor, student: torch.Tensor) -> None:
        """One step of the optimizer.

        Args:
            loss: scalar, of the global batch.
            student: what `embed` gave for the student.
        """
        (gradient,) = torch.autograd.grad(loss, student)  # (B, D), the same in every process
        self._set_gradients(gradient[self._processes.share(len(gradient))])
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def require_agreement(self, networks: Mapping[str, Any], *, when: str) -> None:
        """Stops where the processes have drifted apart, which no rounding explains: they all compute the same.

        Args:
            networks: role -> what has a `state_dict`; None is left out.
            when: for the message.
        """
        if self._processes.size > 1:
            there = {role: network for role, network in networks.items() if network is not None}
            state = {f"{role}.{key}": x for role, network in there.items() for key, x in network.state_dict().items()}
            self._processes.require_same(state, f"the state {when}")

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on, beside the networks."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` described."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def _embed_groups(self, network: nn.Module, images: torch.Tensor, step: int | None) -> list[torch.Tensor]:
        """Embeddings (g, D) of each BatchNorm group of this process's images; moves the running statistics."""
        images = images.to(next(network.parameters()).dtype)  # double precision tells rounding from a mistake
        images = images.contiguous(memory_format=self._layout)
        if network in self._halves:
            self._halves[network].refresh()
        groups = images.split(group_size(network) or len(images))
        factors = self._factors(groups, step) if self._drops and network is self._student else None
        embeddings, statistics = self._passes[network].forward(groups, factors)
        several = self._processes.size > 1
        commit_statistics_(network, torch.cat(statistics), reduce=self._processes.gather if several else None)
        return embeddings

    def _factors(self, groups: Sequence[torch.Tensor], step: int | None) -> list[torch.Tensor]:
        """Of the student's stochastic depth in each group, the same in whichever process the group is."""
        assert step is not None, "a student with stochastic depth draws anew in every step"
        first = self._processes.rank * len(groups)
        drawn = [
            draw_factors(self._student, len(group), generator(self._seed, "drop_path", step, first + number))
            for number, group in enumerate(groups)
        ]
        return [send(factors, group.device) for factors, group in zip(drawn, groups, strict=True)]

    def _set_gradients(self, gradient: torch.Tensor) -> None:
        """Gives every parameter the gradient of the whole batch, added up over all BatchNorm groups in their order.

        Args:
            gradient: of the loss with respect to this process's embeddings, (b, D).
        """
        parts = gradient.split(group_size(self._student) or len(gradient))
        rows = self._passes[self._student].backward([self._scaler.scale(part) for part in parts])
        self._gradient.give(self._processes.sum_in_order(rows))


def _compiled(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network by `torch.compile`; what cannot be compiled on this machine is one line."""
    from torch._dynamo.exc import BackendCompilerFailed  # as public as torch makes it

    # Kernels chosen by timing them would add up in another order in another run.
    compiled = torch.compile(
        network, dynamic=False, options={"deterministic": torch.are_deterministic_algorithms_enabled()}
    )

    def forward(images: torch.Tensor) -> torch.Tensor:
        try:
            return compiled(images)
        except BackendCompilerFailed as error:
            reason = (str(error.inner_exception).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"train.compile: torch cannot compile the network here ({reason}): "
                "install a C++ compiler such as g++, or set it to false"
            ) from error

    return forward
