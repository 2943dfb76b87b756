"""The trainer: learns without identities, repeats itself, resumes, and stops with one line where it must."""

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from pipeline.config.schema import TrainingSettings
from pipeline.model import build
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.training.results import EpochResult
from pipeline.training.trainer import Trainer
from tests.training.small import change


def make(crowd: Any, small: TrainingSettings, **other: Any) -> Trainer:
    torch.manual_seed(1)
    student = build("resnet10_w32", bn_group=8)
    data = {"images": crowd.images, "cameras": crowd.cameras, **other}
    return Trainer(student, copy.deepcopy(student), settings=small, shown=False, **data)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    networks = {"student": trainer.student, "teacher": trainer.teacher}
    return {f"{n}.{k}": v.clone() for n, net in networks.items() for k, v in net.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def figures(result: EpochResult) -> dict[str, Any]:
    values = vars(result).copy()
    for clock in ("seconds", "images_per_second"):
        values.pop(clock)
    return {**values, "labels": values["labels"].tolist()}


def test_trainer_repeats_itself_bit_for_bit(crowd: Any, small: TrainingSettings) -> None:
    first, second = make(crowd, small), make(crowd, small)
    assert [figures(r) for r in first.run()] == [figures(r) for r in second.run()]
    assert_same(weights(first), weights(second))


def test_trainer_trains_both_networks_and_counts(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, small)
    before = weights(trainer)
    results = list(trainer.run())
    after = weights(trainer)
    for name in ("student.backbone.conv1.weight", "teacher.backbone.conv1.weight", "teacher.neck.running_mean"):
        assert not torch.equal(before[name], after[name]), name
    assert torch.equal(after["student.neck.bias"], torch.zeros_like(after["student.neck.bias"]))
    assert [r.epoch for r in results] == [0, 1] and trainer.step == 6
    assert results[0].eps == pytest.approx(0.6 * 0.99) and results[1].eps == pytest.approx(0.6 * 0.99**2)
    for result in results:
        assert result.labels.shape == (64,)
        assert result.num_clusters == result.labels.max() + 1 >= 4
        assert result.num_outliers == (result.labels < 0).sum()
        assert result.loss == pytest.approx(result.loss_soft)  # weight is 1
        assert set(result.seconds) == {"extract", "neighbours", "jaccard", "dbscan", "train"}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            {"schedule": "milestones", "milestones": [2, 3], "warmup_epochs": 1, "warmup_start": 0.25},
            [0.25, 1, 0.1, 0.01],
        ),
        ({"schedule": "step", "step_epochs": 3}, [1, 1, 1, 0.1]),
    ],
)
def test_every_epoch_has_the_learning_rate_of_the_settings(
    crowd: Any, small: TrainingSettings, schedule: dict[str, Any], expected: list[float]
) -> None:
    changes = {f"optimizer__{key}": value for key, value in schedule.items()}
    trainer = make(crowd, change(small, epochs=4, train__iters=1, optimizer__lr=2.0**-10, **changes))
    for result, share in zip(trainer.run(), expected, strict=True):
        assert result.learning_rate == pytest.approx(2.0**-10 * share)
        assert [group["lr"] for group in trainer._exact._optimizer.param_groups] == [result.learning_rate]


def test_trainer_parts_the_people_and_finds_them(crowd: Any, small: TrainingSettings) -> None:
    from sklearn.metrics import adjusted_rand_score

    trainer = make(crowd, change(small, epochs=5, train__iters=10, loss__smoothing=0.1))
    results = list(trainer.run())
    # Losses of two epochs are those of other clusters, and do not compare.
    between = [result.distance_between for result in results]
    assert between[0] is not None and between[-1] is not None and between[-1] > 2 * between[0]
    assert adjusted_rand_score(crowd.pids, results[-1].labels) > 0.6


def test_trainer_resumes_at_any_epoch_bit_for_bit(crowd: Any, small: TrainingSettings, tmp_path: Path) -> None:
    whole = make(crowd, small)
    results = [figures(r) for r in whole.run()]
    half = make(crowd, small)
    next(half.run())
    save_checkpoint(tmp_path / "checkpoint.pt", half.state_dict())
    resumed = make(crowd, small)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    assert [figures(r) for r in resumed.run()] == results[1:]
    assert_same(weights(resumed), weights(whole))


def test_embeddings_that_are_clustered_are_of_single_precision_whatever_the_steps_use(
    crowd: Any, small: TrainingSettings
) -> None:
    trainers = [make(crowd, change(small, train__precision=name)) for name in ("fp32", "bf16")]
    exact, rounded = (next(trainer.run()) for trainer in trainers)
    assert exact.labels.tolist() == rounded.labels.tolist() and exact.distance_within == rounded.distance_within
    assert exact.loss != rounded.loss


def test_trainer_does_not_touch_the_images(crowd: Any, small: TrainingSettings) -> None:
    before = crowd.images.copy()
    list(make(crowd, change(small, epochs=1)).run())
    np.testing.assert_array_equal(before, crowd.images)


def leaves(section: type[BaseModel]) -> Iterator[str]:
    """Names of all settings of a section and of those in it."""
    for name, field in section.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation)


def test_trainer_has_no_way_to_an_identity() -> None:
    given = set(inspect.signature(Trainer.__init__).parameters) | set(leaves(TrainingSettings))
    assert not {name for name in given if "pid" in name or "identit" in name}
    assert given >= {"images", "cameras", "eps"}


def test_trainer_works_without_cameras(crowd: Any, small: TrainingSettings) -> None:
    results = list(make(crowd, change(small, epochs=1), cameras=None).run())
    assert np.isfinite(results[0].loss)


@pytest.mark.parametrize("update", ["dynamic", "hard", "mean", "instance"])
def test_trainer_runs_every_memory(crowd: Any, small: TrainingSettings, update: str) -> None:
    result = next(make(crowd, change(small, memory__update=update, train__iters=2)).run())
    assert np.isfinite(result.loss)


def test_trainer_measures_the_recall_of_approximate_neighbours_only(crowd: Any, small: TrainingSettings) -> None:
    exact = next(make(crowd, change(small, train__iters=1)).run())
    assert exact.neighbour_recall is None and "recall" not in exact.seconds
    approximate = next(make(crowd, change(small, train__iters=1, clustering__neighbours="approximate")).run())
    assert approximate.neighbour_recall is not None and 0.5 < approximate.neighbour_recall <= 1
    assert approximate.seconds["recall"] > 0


def test_trainer_without_smoothing_still_gives_the_teacher_its_own_statistics(
    crowd: Any, small: TrainingSettings
) -> None:
    trainer = make(crowd, change(small, loss__smoothing=0.0, epochs=1))
    list(trainer.run())
    assert trainer.teacher.neck.running_mean.abs().sum() > 0
    assert trainer.teacher.neck.num_batches_tracked == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clustering__eps": 1e-3, "clustering__k2": 1}, "no cluster|cluster"),
        ({"sampler__batch": 64, "sampler__instances": 2}, "clusters"),
        ({"optimizer__lr": 1e30}, r"the loss is not finite in epoch 1, step \d+: lower optimizer.lr"),
    ],
)
def test_trainer_stops_with_one_line(
    crowd: Any, small: TrainingSettings, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        list(make(crowd, change(small, **changes)).run())
    assert "\n" not in str(caught.value)
