"""Cost of the memory and the loss beside the networks: their share of a ResNet-50 training step.

    python -m benchmarks.memory

The paper's size: a batch of 256 = 16 clusters x 16 images of 256 x 128 pixels, 2048-d embeddings, 2,000 clusters. The
step is what a training does: student forward and backward, teacher forward, Adam, and the teacher's average. On a CPU
it runs on one BatchNorm group of 64 images and is counted four times, because 256 images would need 14 GB of
activations; memory and loss always run on all 256. Each update rule is also compared with the plain loop over
instances that published code uses. Exits with 1 where the share is above the target or a result differs.
"""

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
import typer

from pipeline.contrast import ClusterMemory, contrastive_loss, update_teacher_
from pipeline.contrast.memory import UPDATES
from pipeline.model import build, commit_statistics_

BATCH, INSTANCES, WIDTH, CLUSTERS, GROUP = 256, 16, 2048, 2000, 64
HEIGHT, IMAGE_WIDTH = 256, 128
MOMENTUM, TAU = 0.1, 0.05
TARGET_SHARE, TOLERANCE = 0.02, 1e-5


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The fastest of some repeats, after one that is not counted."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def step_of(device: torch.device, images: int) -> Callable[[], None]:
    """A training step of both networks on `images` images, without memory and loss."""
    student = build("resnet50", pooling="avg", features=0, bn_group=GROUP).to(device).train()
    teacher = copy.deepcopy(student)
    optimiser = torch.optim.Adam(student.parameters(), lr=3.5e-4, weight_decay=5e-4)
    views = [torch.randn(images, 3, HEIGHT, IMAGE_WIDTH, device=device) for _ in range(2)]
    direction = torch.randn(images, WIDTH, device=device)

    def step() -> None:
        embeddings = student(views[0])
        commit_statistics_(student)
        with torch.no_grad():
            teacher(views[1])
        commit_statistics_(teacher)
        optimiser.zero_grad(set_to_none=True)
        (embeddings * direction).sum().backward()
        optimiser.step()
        update_teacher_(teacher, student, decay=0.999)

    return step


def batch_of(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Student and teacher embeddings (B, D), labels (B,), centroids (K, D), all from one seed."""
    generator = torch.Generator().manual_seed(1)
    centroids = F.normalize(torch.randn(CLUSTERS, WIDTH, generator=generator), dim=1)
    chosen = torch.randperm(CLUSTERS, generator=generator)[: BATCH // INSTANCES]
    labels = chosen.repeat_interleave(INSTANCES)
    student, teacher = (
        F.normalize(centroids[labels] + 0.02 * torch.randn(BATCH, WIDTH, generator=generator), dim=1) for _ in range(2)
    )
    return student.to(device), teacher.to(device), labels.to(device), centroids.to(device)


def looped_update_(centroids: torch.Tensor, features: torch.Tensor, labels: torch.Tensor, update: str) -> None:
    """The rules as a loop over instances, as they are usually written."""
    instances: dict[int, list[torch.Tensor]] = {}
    for feature, label in zip(features, labels.tolist(), strict=True):
        instances.setdefault(label, []).append(feature)
    for label, members in instances.items():
        row = centroids[label]
        if update == "instance":
            for member in members:
                centroids[label] = F.normalize(MOMENTUM * centroids[label] + (1 - MOMENTUM) * member, dim=0)
            continue
        similarity = torch.stack([member @ row for member in members])
        if update == "hard":
            towards = members[int(similarity.argmin())]
        elif update == "mean":
            towards = torch.stack(members).mean(dim=0)
        else:
            weights = F.softmax(-similarity / TAU, dim=0)
            towards = torch.stack([w * member for w, member in zip(weights, members, strict=True)]).sum(dim=0)
        centroids[label] = F.normalize(MOMENTUM * row + (1 - MOMENTUM) * towards, dim=0)


def main(repeats: Annotated[int, typer.Option(min=1, help="Runs of each part; the fastest counts.")] = 5) -> None:
    """Prints the time of a step, of loss and memory, their share, and the ratios to the loops."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = BATCH if device.type == "cuda" else GROUP
    print(f"ResNet-50, {BATCH} images of {HEIGHT} x {IMAGE_WIDTH}, {CLUSTERS:,} clusters, {WIDTH}-d, {device.type}")
    step = seconds(step_of(device, images), max(1, repeats // 2), device) * (BATCH // images)
    print(f"step of both networks              {step * 1e3:10.1f} ms")

    student, teacher, labels, centroids = batch_of(device)
    student.requires_grad_(True)
    failed = False
    for update in UPDATES:
        memory = ClusterMemory(centroids, momentum=MOMENTUM, update=update, tau=TAU)

        def loss_and_update(memory: ClusterMemory = memory) -> None:
            student.grad = None
            total, _, _ = contrastive_loss(
                student, teacher, memory.centroids, labels, temperature=0.05, smoothing=0.3, weight=1.0
            )
            total.backward()
            memory.update_(student, labels)

        both = seconds(loss_and_update, repeats, device)
        ours = ClusterMemory(centroids, momentum=MOMENTUM, update=update, tau=TAU)
        looped = ours.centroids.clone()
        ours.update_(student, labels)
        looped_update_(looped, student.detach(), labels, update)
        difference = float((ours.centroids - looped).abs().max())
        alone = seconds(partial(memory.update_, student, labels), repeats, device)
        loop = seconds(partial(looped_update_, looped, student.detach(), labels, update), repeats, device)
        share = both / (step + both)
        failed |= share > TARGET_SHARE or difference > TOLERANCE
        print(
            f"{update:9} loss and update {both * 1e3:8.1f} ms = {share:.2%} of a step (target {TARGET_SHARE:.0%}); "
            f"update {alone * 1e3:.2f} ms, {loop / alone:.0f} times faster than the loop, differs by {difference:.0e}"
        )
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
