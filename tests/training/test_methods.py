"""Cluster Contrast and SpCL by the one trainer, against each method written down as a loop over images and classes."""

import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.clustering import CameraAware, Reliability, camera_jaccard_distance, dbscan, pseudo_labels
from pipeline.common.errors import UserError
from pipeline.common.seeding import derive_seed
from pipeline.config.schema import TrainingSettings
from pipeline.datasets.sampling import epoch_batches
from pipeline.model import build, commit_statistics_
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.model.embedding import embed
from pipeline.training.loader import load_batches
from pipeline.training.trainer import Trainer
from tests.training.small import change

CLUSTER_CONTRAST: dict[str, Any] = {"method": "cluster_contrast", "clustering__eps": 0.45}
BATCH: dict[str, Any] = {"loss__camera_weight": "batch"}
SPCL: dict[str, Any] = {"method": "spcl", "clustering__eps": 0.5}
CAMERAS: dict[str, Any] = {"clustering__distance": "camera_jaccard", "clustering__k_inter": 8, **BATCH}
CLUSTER: dict[str, Any] = {**SPCL, "loss__camera_weight": "cluster", "loss__camera_weight_after": 1}
PROXIES: dict[str, Any] = {"loss__proxies": 0.5, "loss__proxies_after": 1}
SGD: dict[str, Any] = {"optimizer__name": "sgd", "optimizer__schedule": "milestones", "optimizer__milestones": [1]}


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(1)
    return build("resnet10_w32", bn_group=8).to(dtype)


def make(crowd: Any, small: TrainingSettings, dtype: torch.dtype = torch.float32) -> Trainer:
    student = network(dtype)
    teacher = copy.deepcopy(student) if small.has_teacher else None
    return Trainer(
        student,
        teacher,
        images=crowd.images,
        cameras=crowd.cameras,
        settings=small,
        shown=False,
    )


class Loop:
    """A method as one writes it; `run` gives the labels and the mean loss of every epoch. The networks have double
    precision; embeddings that are clustered, and so the memory that begins with them, have single precision."""

    def __init__(self, crowd: Any, small: TrainingSettings) -> None:
        self.crowd, self.small, self.student = crowd, small, network(torch.float64)
        self.adam = torch.optim.Adam(
            self.student.parameters(), lr=small.optimizer.lr, weight_decay=small.optimizer.weight_decay
        )
        self.rows: list[torch.Tensor] = []
        self.threshold: float | None = None
        self.step = 0

    def run(self) -> list[tuple[list[int], float]]:
        return [self.epoch(epoch) for epoch in range(self.small.epochs)]

    def epoch(self, epoch: int) -> tuple[list[int], float]:
        small, crowd, spcl = self.small, self.crowd, self.small.method == "spcl"
        if not (spcl and self.rows):  # SpCL clusters what its memory holds
            self.rows = list(embed(self.student, crowd.images, device=torch.device("cpu")))
        trust = Reliability(delta=0.02, independent=0.9, independence_threshold=self.threshold) if spcl else None
        found = pseudo_labels(
            torch.stack(self.rows).numpy(),
            eps=small.clustering.eps,
            min_samples=small.clustering.min_samples,
            k1=small.clustering.k1,
            k2=small.clustering.k2,
            neighbours="exact",
            reliability=trust,
        )
        self.threshold = found.independence_threshold
        labels = found.labels.tolist()
        batches = epoch_batches(
            found.labels,
            crowd.cameras,
            batch=small.sampler.batch,
            instances=small.sampler.instances,
            iters=small.train.iters,
            camera_aware=True,
            seed=derive_seed(small.seed, "sampler"),
            epoch=epoch,
            outliers=spcl,
        )
        num_clusters = max(labels) + 1
        members = [[i for i, label in enumerate(labels) if label == cluster] for cluster in range(num_clusters)]
        if small.method == "spcl":
            members += [[i] for i, label in enumerate(labels) if label < 0]
            self.rows = [F.normalize(row, dim=0) for row in self.rows]
        class_of = {i: number for number, images in enumerate(members) for i in images}
        means = [torch.stack([self.rows[i] for i in images]).mean(dim=0) for images in members]
        centroids = [F.normalize(mean, dim=0) for mean in means]
        losses = []
        arriving = load_batches(
            crowd.images,
            batches,
            targets=found.labels,
            augment=small.augment,
            seed=small.seed,
            first_step=self.step,
            share=slice(None),
            device=torch.device("cpu"),
            num_views=1,
        )
        for images, batch in zip(batches.tolist(), arriving, strict=True):
            (pixels,) = batch.views
            queries = self.student.train()(pixels.double())
            commit_statistics_(self.student)
            terms = []
            for image, query in zip(images, queries, strict=True):
                if small.method == "spcl":
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
            kept = small.memory.momentum
            for image, query in zip(images, queries.detach().float(), strict=True):
                rows, which = (self.rows, image) if spcl else (centroids, class_of[image])
                rows[which] = F.normalize(kept * rows[which] + (1 - kept) * query, dim=0)
            losses.append(loss.item())
            self.step += 1
        return labels, float(np.mean(losses))


@pytest.mark.parametrize("method", [CLUSTER_CONTRAST, SPCL], ids=["cluster_contrast", "spcl"])
def test_method_equals_its_naive_loop(crowd: Any, small: TrainingSettings, method: dict[str, Any]) -> None:
    # Two epochs: what is left of rounding, 1e-7, may join or part clusters of such a crowd in a third.
    small = change(small, train__iters=2, epochs=2, **method)
    loop = Loop(crowd, small)
    expected = loop.run()
    trainer = make(crowd, small, torch.float64)
    results = list(trainer.run())
    assert [result.labels.tolist() for result in results] == [labels for labels, _ in expected]
    assert any(result.num_outliers for result in results), "without an outlier the methods have little to differ in"
    assert [result.loss for result in results] == pytest.approx([loss for _, loss in expected], abs=1e-5)
    for key, value in dict(loop.student.named_parameters()).items():
        torch.testing.assert_close(dict(trainer.student.named_parameters())[key], value, rtol=0, atol=1e-3, msg=key)


def test_spcl_extracts_once_and_then_clusters_its_memory(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, change(small, **SPCL))
    results = list(trainer.run())
    assert results[0].seconds["extract"] > 0 and results[1].seconds["extract"] == 0
    for result in results:
        assert result.num_unreliable is not None and result.num_unreliable <= result.num_outliers
        assert result.num_clusters == result.labels.max() + 1


def test_spcl_trains_where_all_are_outliers(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, change(small, **{**SPCL, "clustering__eps": 0.03, "clustering__min_samples": 30}))
    result = next(trainer.run())
    assert (result.num_clusters, result.num_outliers) == (0, 64) and np.isfinite(result.loss)


@pytest.mark.parametrize(
    "method",
    [{}, CLUSTER_CONTRAST, SPCL, CAMERAS, CLUSTER, PROXIES, SPCL | PROXIES, {"optimizer__name": "adamw"}, SGD],
    ids=["dccc", "cluster_contrast", "spcl", "dccc_cameras", "spcl_cluster", "proxies", "spcl_proxies", "adamw", "sgd"],
)
@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_method_goes_on_bit_for_bit_from_any_step(
    crowd: Any, small: TrainingSettings, tmp_path: Path, method: dict[str, Any], stop_after: int
) -> None:
    small = change(small, epochs=3, train__iters=2, **method)
    whole, half, resumed = (make(crowd, small) for _ in range(3))
    expected = [(result.labels.tolist(), result.ari_last_epoch) for result in whole.run()]
    assert expected[0][1] is None and expected[1][1] is not None

    def keep() -> None:
        if half.step == stop_after:
            save_checkpoint(tmp_path / "checkpoint.pt", half.state_dict())

    list(half.run(keep))
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    found = [(result.labels.tolist(), result.ari_last_epoch) for result in resumed.run()]
    assert found == expected[-len(found) :]
    state, end = resumed.student.state_dict(), whole.student.state_dict()
    assert [key for key in end if not torch.equal(state[key], end[key])] == []


def test_camera_weights_change_the_training_where_cameras_are_known(crowd: Any, small: TrainingSettings) -> None:
    def losses(cameras: Any, **changes: Any) -> list[float]:
        trainer = make(replace(crowd, cameras=cameras), change(small, train__iters=2, **changes))
        return [result.loss for result in trainer.run()]

    cameras = np.where(crowd.pids % 2 == 0, crowd.cameras, 0)  # half of the people are seen by one camera
    plain = losses(cameras)
    assert losses(cameras, loss__camera_weight="batch") != plain
    waits = losses(cameras, loss__camera_weight="cluster", loss__camera_weight_after=1)
    assert waits[0] == plain[0] and waits[1] != plain[1]


def test_proxies_are_a_part_of_the_loss(crowd: Any, small: TrainingSettings) -> None:
    plain = list(make(crowd, small).run())
    first, second = make(crowd, change(small, **PROXIES)).run()
    assert all(result.loss_proxies is None for result in plain)
    for result in (first, second):
        assert result.loss_proxies is not None
        assert result.loss == pytest.approx(result.loss_soft + 0.5 * result.loss_proxies)  # weight is 1
    assert first.labels.tolist() == plain[0].labels.tolist() and second.loss_soft != plain[1].loss_soft


def test_images_are_drawn_to_other_cameras_after_some_epochs(crowd: Any, small: TrainingSettings) -> None:
    early, later, never = (
        [result.loss_proxies for result in make(crowd, change(small, **{**PROXIES, "loss__proxies_after": n})).run()]
        for n in (0, 1, 2)
    )
    assert later[0] == never[0] < early[0]
    assert later[1] > never[1]


def test_proxies_move_with_every_step(crowd: Any, small: TrainingSettings) -> None:
    trainer, seen = make(crowd, change(small, **PROXIES, epochs=1, train__iters=3)), []

    def look() -> None:
        assert trainer._state is not None and trainer._state.start.proxies is not None
        seen.append(trainer._state.start.proxies.rows.clone())

    list(trainer.run(look))
    assert len(seen) == 3 and not any(before.equal(after) for before, after in pairwise(seen))


def test_proxies_without_cameras_are_one_line(crowd: Any, small: TrainingSettings) -> None:
    with pytest.raises(UserError, match=r"^loss\.proxies is above 0, but the cameras .* are not known: set it to 0"):
        make(replace(crowd, cameras=None), change(small, **PROXIES))


def test_spcl_with_proxies_trains_where_all_are_outliers(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, change(small, **{**SPCL, **PROXIES, "clustering__eps": 0.03, "clustering__min_samples": 30}))
    assert next(trainer.run()).loss_proxies is None


def test_camera_weights_without_cameras_are_said_to_have_no_effect(crowd: Any, small: TrainingSettings) -> None:
    unknown = replace(crowd, cameras=None)
    weighted = make(unknown, change(small, train__iters=1, **BATCH))
    assert weighted.why_unweighted is not None
    assert "are not known: loss.camera_weight has no effect" in weighted.why_unweighted
    assert make(unknown, small).why_unweighted is None and make(crowd, change(small, **BATCH)).why_unweighted is None
    plain = make(unknown, change(small, train__iters=1))
    assert [result.loss for result in weighted.run()] == [result.loss for result in plain.run()]


def test_camera_aware_distance_is_the_epochs(crowd: Any, small: TrainingSettings) -> None:
    method = make(crowd, change(small, **CAMERAS)).method
    rng = np.random.default_rng(0)
    features = F.normalize(torch.from_numpy(rng.standard_normal((64, 6), np.float32)), dim=1).numpy()
    for epoch, (k2_intra, k2_inter) in enumerate([(3, 3), (2, 4)]):
        how = CameraAware(cameras=crowd.cameras, k_intra=5, k_inter=8, k2_intra=k2_intra, k2_inter=k2_inter)
        distance = camera_jaccard_distance(features, how, max_distance=method.eps(epoch))
        expected = dbscan(distance, eps=method.eps(epoch), min_samples=small.clustering.min_samples)
        np.testing.assert_array_equal(method.cluster(features, epoch=epoch).labels, expected)


def test_camera_aware_distance_needs_cameras(crowd: Any, small: TrainingSettings) -> None:
    message = "clustering.distance is camera_jaccard, but the cameras .* are not known: set it to jaccard, or name them"
    with pytest.raises(UserError, match=message):
        make(replace(crowd, cameras=None), change(small, **CAMERAS))


def test_training_without_a_teacher_has_none(crowd: Any, small: TrainingSettings) -> None:
    small = change(small, loss__weight=0.0, train__iters=1, epochs=1)
    trainer = make(crowd, small)
    result = next(trainer.run())
    assert trainer.teacher is None and trainer.state_dict()["teacher"] is None
    assert result.loss == result.loss_hard == result.loss_soft
    with pytest.raises(AssertionError, match="the settings say whether there is a teacher"):
        Trainer(
            network(torch.float32),
            network(torch.float32),
            images=crowd.images,
            cameras=None,
            settings=small,
        )
