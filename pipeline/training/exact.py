"""What learns: student, teacher and optimiser, one batch at a time, with the same bits on any number of processes.

Kernels add up in another order for another batch size, and a sum of sums is rounded differently from the sum. So each
BatchNorm group goes through the network by itself, forward and backward, in whichever process; and the gradients of
the groups are added up in one order. What depends on the whole batch, the loss and its slope, every process computes.

B: global batch · b: images of this process · g: images of a BatchNorm group · K: clusters · D: width of the embedding.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.common.precision import Precision
from pipeline.contrast import ClusterMemory, HybridMemory, contrastive_loss, teacher_decay, update_teacher_
from pipeline.model import commit_statistics_, group_size, take_statistics_
from pipeline.training.distributed import Processes
from pipeline.training.plan import Plan


class Learner:
    """Holds the networks and the optimiser.

    Args:
        student: (b, 3, H, W) -> (b, D), L2-normalised; on the device of `processes`.
        teacher: a copy of the student, or None for a method that has none.
        plan: the numbers.
        processes: this process among those that train together.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module | None, *, plan: Plan, processes: Processes) -> None:
        self.student, self.teacher = student, teacher
        self._plan, self._processes = plan, processes
        networks = (student,) if teacher is None else (student, teacher)
        for network in networks[1:]:
            network.requires_grad_(False)
        self._trainable = [p for p in student.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(self._trainable, lr=plan.lr, weight_decay=plan.weight_decay)
        self.precision = Precision(plan.precision, processes.device)
        self._scaler = self.precision.scaler()
        # Kernels for pixels with their channels side by side are the fast ones where there are tensor cores.
        self._layout = torch.channels_last if processes.device.type == "cuda" else torch.contiguous_format
        for network in networks:
            network.to(memory_format=self._layout)
        # Not in place: an extraction comes with batches of other sizes, and would be compiled for each of them.
        self._forward = {network: _compiled(network) if plan.compile else network for network in networks}

    def set_learning_rate(self, rate: float) -> None:
        """Of the steps that follow."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def learn_(
        self,
        views: tuple[torch.Tensor, ...],
        labels: torch.Tensor,
        memory: ClusterMemory | HybridMemory,
        *,
        images: torch.Tensor | None = None,
        step: int,
    ) -> torch.Tensor:
        """One step of student, teacher and memory.

        Args:
            views: of each image of this process, (b, 3, H, W) each: the student's, and the teacher's if there is one.
            labels: classes (B,) of the whole batch.
            memory: of the classes (K, D).
            images: which images they are, (B,); a memory of clusters does not ask.
            step: counted over all epochs.

        Returns:
            the total loss, L_c and L_ss, of shape (3,).
        """
        plan, processes = self._plan, self._processes
        groups = self._embed(self.student, views[0])  # (g, D) each
        student = processes.gather(torch.cat(groups).detach()).requires_grad_()  # (B, D)
        softened = None
        if self.teacher is not None:
            with torch.no_grad():
                softened = processes.gather(torch.cat(self._embed(self.teacher, views[1])))  # (B, D)
        losses = contrastive_loss(
            student,
            softened,
            memory.centroids,
            labels,
            temperature=plan.temperature,
            smoothing=0.0 if softened is None else plan.smoothing,
            weight=plan.weight,
        )
        (slopes,) = torch.autograd.grad(losses[0], student)  # (B, D), the same in every process
        self._set_gradients(groups, slopes[processes.share(len(slopes))])
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self.teacher is not None:
            update_teacher_(self.teacher, self.student, decay=teacher_decay(step, decay=plan.decay))
        memory.update_(student.detach(), labels, images)
        return torch.stack([loss.detach() for loss in losses])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "student": self.student.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` described."""
        self.student.load_state_dict(state["student"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])

    def _embed(self, network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
        """Embeddings (g, D) of each BatchNorm group of this process's images; moves the running statistics."""
        images = images.to(next(network.parameters()).dtype)  # double precision tells rounding from a mistake
        embeddings, statistics = [], []
        with self.precision.forward():
            for group in images.split(group_size(network) or len(images)):
                embeddings.append(self._forward[network](group.contiguous(memory_format=self._layout)))
                statistics.append(take_statistics_(network))
        several = self._processes.size > 1
        commit_statistics_(network, torch.cat(statistics), reduce=self._processes.gather if several else None)
        return embeddings

    def _set_gradients(self, groups: list[torch.Tensor], slopes: torch.Tensor) -> None:
        """Gives every parameter the gradient of the whole batch, added up over all BatchNorm groups in their order.

        Args:
            groups: embeddings (g, D) of each group of this process.
            slopes: gradient of the loss with respect to all of them, (b, D).
        """
        rows = []
        with self.precision.products():
            for embeddings, slope in zip(groups, slopes.split([len(group) for group in groups]), strict=True):
                gradients = torch.autograd.grad(embeddings, self._trainable, self._scaler.scale(slope))
                rows.append(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        total = self._processes.sum_in_order(rows)
        for parameter, part in zip(self._trainable, total.split([p.numel() for p in self._trainable]), strict=True):
            gradient = part.view(parameter.shape)
            same_layout = gradient.stride() == parameter.stride()
            parameter.grad = gradient if same_layout else torch.empty_like(parameter).copy_(gradient)


def _compiled(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network by `torch.compile`; what cannot be compiled on this machine is one line."""
    from torch._dynamo.exc import BackendCompilerFailed  # as public as torch makes it

    compiled = torch.compile(network, dynamic=False)

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
