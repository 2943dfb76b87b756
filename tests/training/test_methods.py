"""Cluster Contrast and SpCL by the one trainer, against each method written down as a loop over images and classes."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pipeline.training.plan import Plan
from torch import nn

from pipeline.clustering import Reliability, pseudo_labels
from pipeline.common.seeding import derive_seed
from pipeline.datasets.sampling import epoch_batches
from pipeline.model import build, commit_statistics_
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.model.embedding import embed
from pipeline.training.distributed import Processes
from pipeline.training.loader import feed
from pipeline.training.trainer import Trainer

CLUSTER_CONTRAST: dict[str, Any] = {"eps_schedule": "fix", "update": "instance", "weight": 0.0, "eps": 0.45}
SPCL: dict[str, Any] = {
    "eps_schedule": "fix",
    "update": "hybrid",
    "weight": 0.0,
    "momentum": 0.2,
    "delta": 0.02,
    "independent": 0.9,
    "eps": 0.5,
}


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(1)
    return build("resnet10_w32", bn_group=8).to(dtype)


def make(crowd: Any, plan: Plan, dtype: torch.dtype = torch.float32) -> Trainer:
    student = network(dtype)
    teacher = copy.deepcopy(student) if plan.has_teacher else None
    return Trainer(student, teacher, images=crowd.images, cameras=crowd.cameras, plan=plan, shown=False)


class Loop:
    """A method as one writes it; `run` gives the labels and the mean loss of every epoch. The networks have double
    precision; embeddings that are clustered, and so the memory that begins with them, have single precision."""

    def __init__(self, crowd: Any, plan: Plan) -> None:
        self.crowd, self.plan, self.student = crowd, plan, network(torch.float64)
        self.adam = torch.optim.Adam(self.student.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
        self.rows: list[torch.Tensor] = []
        self.level: float | None = None
        self.step = 0

    def run(self) -> list[tuple[list[int], float]]:
        return [self.epoch(epoch) for epoch in range(self.plan.epochs)]

    def epoch(self, epoch: int) -> tuple[list[int], float]:
        plan, crowd = self.plan, self.crowd
        if not (plan.hybrid and self.rows):  # SpCL clusters what its memory holds
            self.rows = list(embed(self.student, crowd.images, device=torch.device("cpu")))
        trust = Reliability(delta=0.02, independent=0.9, level=self.level) if plan.hybrid else None
        found = pseudo_labels(
            torch.stack(self.rows).numpy(),
            eps=plan.eps,
            min_samples=plan.min_samples,
            k1=plan.k1,
            k2=plan.k2,
            neighbours="exact",
            reliability=trust,
        )
        self.level = found.level
        labels = found.labels.tolist()
        batches = epoch_batches(
            found.labels,
            crowd.cameras,
            batch=plan.batch,
            instances=plan.instances,
            iters=plan.iters,
            camera_aware=True,
            seed=derive_seed(plan.seed, "sampler"),
            epoch=epoch,
            outliers=plan.hybrid,
        )
        num_clusters = max(labels) + 1
        members = [[i for i, label in enumerate(labels) if label == cluster] for cluster in range(num_clusters)]
        if plan.hybrid:
            members += [[i] for i, label in enumerate(labels) if label < 0]
            self.rows = [F.normalize(row, dim=0) for row in self.rows]
        class_of = {i: number for number, images in enumerate(members) for i in images}
        means = [torch.stack([self.rows[i] for i in images]).mean(dim=0) for images in members]
        centroids = [F.normalize(mean, dim=0) for mean in means]
        losses = []
        views = feed(
            crowd.images,
            batches,
            plan=plan,
            first_step=self.step,
            mine=slice(None),
            device=torch.device("cpu"),
            num_views=1,
        )
        for images, (pixels,) in zip(batches.tolist(), views, strict=True):
            queries = self.student.train()(pixels.double())
            commit_statistics_(self.student)
            terms = []
            for image, query in zip(images, queries, strict=True):
                if plan.hybrid:
                    logits = [
                        torch.stack([query @ self.rows[i].double() for i in each]).mean() / 0.05 for each in members
                    ]
                else:
                    logits = [query @ centroid.double() / 0.05 for centroid in centroids]
                terms.append(-F.log_softmax(torch.stack(logits), dim=0)[class_of[image]])
            loss = torch.stack(terms).mean()
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
            kept = plan.momentum
            for image, query in zip(images, queries.detach().float(), strict=True):
                rows, which = (self.rows, image) if plan.hybrid else (centroids, class_of[image])
                rows[which] = F.normalize(kept * rows[which] + (1 - kept) * query, dim=0)
            losses.append(loss.item())
            self.step += 1
        return labels, float(np.mean(losses))


@pytest.mark.parametrize("method", [CLUSTER_CONTRAST, SPCL], ids=["cluster_contrast", "spcl"])
def test_method_equals_its_naive_loop(crowd: Any, plan: Plan, method: dict[str, Any]) -> None:
    # Two epochs: what is left of rounding, 1e-7, may join or part clusters of such a crowd in a third.
    plan = dataclasses.replace(plan, iters=2, epochs=2, **method)
    loop = Loop(crowd, plan)
    expected = loop.run()
    trainer = make(crowd, plan, torch.float64)
    results = list(trainer.run())
    assert [result.labels.tolist() for result in results] == [labels for labels, _ in expected]
    assert any(result.num_outliers for result in results), "without an outlier the methods have little to differ in"
    assert [result.loss for result in results] == pytest.approx([loss for _, loss in expected], abs=1e-5)
    for key, value in dict(loop.student.named_parameters()).items():
        torch.testing.assert_close(dict(trainer.student.named_parameters())[key], value, rtol=0, atol=1e-3, msg=key)


def test_spcl_extracts_once_and_then_clusters_its_memory(crowd: Any, plan: Plan) -> None:
    trainer = make(crowd, dataclasses.replace(plan, **SPCL))
    results = list(trainer.run())
    assert results[0].seconds["extract"] > 0 and results[1].seconds["extract"] == 0
    for result in results:
        assert result.num_unreliable is not None and result.num_unreliable <= result.num_outliers
        assert result.num_clusters == result.labels.max() + 1


def test_spcl_trains_where_all_are_outliers(crowd: Any, plan: Plan) -> None:
    trainer = make(crowd, dataclasses.replace(plan, **{**SPCL, "eps": 0.03, "min_samples": 30}))
    result = next(trainer.run())
    assert (result.num_clusters, result.num_outliers) == (0, 64) and np.isfinite(result.loss)


@pytest.mark.parametrize("method", [{}, CLUSTER_CONTRAST, SPCL], ids=["dccc", "cluster_contrast", "spcl"])
@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_method_goes_on_bit_for_bit_from_any_step(
    crowd: Any, plan: Plan, tmp_path: Path, method: dict[str, Any], stop_after: int
) -> None:
    plan = dataclasses.replace(plan, epochs=3, iters=2, **method)
    whole, half, resumed = (make(crowd, plan) for _ in range(3))
    expected = [result.labels.tolist() for result in whole.run()]

    def keep() -> None:
        if half.step == stop_after:
            save_checkpoint(tmp_path / "checkpoint.pt", half.state_dict())

    list(half.run(keep))
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    labels = [result.labels.tolist() for result in resumed.run()]
    assert labels == expected[-len(labels) :]
    state, end = resumed.student.state_dict(), whole.student.state_dict()
    assert [key for key in end if not torch.equal(state[key], end[key])] == []


def test_training_without_a_teacher_has_none(crowd: Any, plan: Plan) -> None:
    plan = dataclasses.replace(plan, weight=0.0, iters=1, epochs=1)
    trainer = make(crowd, plan)
    result = next(trainer.run())
    assert trainer.teacher is None and trainer.state_dict()["learner"]["teacher"] is None
    assert result.loss == result.loss_hard == result.loss_soft
    with pytest.raises(AssertionError, match="the plan says whether there is a teacher"):
        Trainer(network(torch.float32), network(torch.float32), images=crowd.images, cameras=None, plan=plan)


def test_student_is_the_same_whether_others_are_drawn_beside_its_view(crowd: Any, plan: Plan) -> None:
    rows, device = np.arange(16).reshape(1, 16), torch.device("cpu")
    options: dict[str, Any] = {"plan": plan, "first_step": 3, "mine": Processes().share(16), "device": device}
    (one,), (two, _) = (next(feed(crowd.images, rows, num_views=number, **options)) for number in (1, 2))
    assert torch.equal(one, two)
