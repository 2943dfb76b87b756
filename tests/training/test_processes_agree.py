"""One, two and four processes: the same labels, losses, statistics and embeddings.

In single precision too, bit for bit: every kernel sees one BatchNorm group, and the gradients of the groups are added
up in one order.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.schema import TrainingSettings
from pipeline.evaluation import evaluate
from pipeline.model import build, embedding
from pipeline.training.distributed import Processes
from pipeline.training.trainer import Trainer
from tests.training.gloo import in_processes
from tests.training.small import change, small_settings

SIZES = (2, 4)
NUM_IDENTITIES, NUM_CAMERAS = 12, 4
# Images an extraction; `CHUNK` is 16 here. Less than a chunk, whole chunks, and never as many as the processes take.
COUNTS = (1, 3, 16, 17, 47, 80)


@dataclass(frozen=True)
class Split:
    """Images (N, H, W, 3), the camera that took each, and who is on them."""

    images: np.ndarray
    cameras: np.ndarray
    pids: np.ndarray


def draw(colours: np.ndarray, rng: np.random.Generator, *, each: int) -> Split:
    """`each` noisy images of each person; a person is two colours, one above the other."""
    pids = np.repeat(np.arange(len(colours)), each)
    images = np.repeat(np.repeat(colours[pids], 8, axis=1)[:, :, None], 8, axis=2)
    noisy = images + rng.normal(0, 40, images.shape)
    return Split(np.clip(noisy, 0, 255).astype(np.uint8), np.arange(len(pids)) % NUM_CAMERAS, pids)


@pytest.fixture(scope="module")
def splits() -> tuple[Split, Split, Split]:
    """Train, query and gallery, of the same people."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (NUM_IDENTITIES, 2, 3))
    train, rest = draw(colours, rng, each=8), draw(colours, rng, each=8)
    query = np.arange(len(rest.pids)) % 8 < 2
    test = [Split(rest.images[rows], rest.cameras[rows], rest.pids[rows]) for rows in (query, ~query)]
    return train, test[0], test[1]


@dataclass(frozen=True)
class Training:
    """What one training came to, in one process of it."""

    labels: list[np.ndarray]  # (N,) of each epoch
    losses: np.ndarray  # (epochs, 3)
    networks: dict[str, torch.Tensor]  # student and teacher
    mean_ap: float
    untrained: list[torch.Tensor]  # embeddings of the first COUNTS images


def train(
    processes: Processes, splits: tuple[Split, Split, Split], small: TrainingSettings, precision: torch.dtype
) -> Training:
    data, query, gallery = splits
    embedding.CHUNK = 16  # several chunks a process
    torch.manual_seed(1)
    student = build("resnet10_w32", bn_group=8).to(precision)
    trainer = Trainer(
        student,
        copy.deepcopy(student) if small.has_teacher else None,
        images=data.images,
        cameras=data.cameras,
        settings=small,
        processes=processes,
        shown=False,
    )
    untrained = [trainer.embed(student, data.images[:count], "") for count in COUNTS]
    results = list(trainer.run())
    roles = {"student": student, "teacher": trainer.teacher} if trainer.teacher else {"student": student}
    for role, network in roles.items():
        processes.require_same(network.state_dict(), role)
    found = [trainer.embed(student, split.images, "") for split in (query, gallery)]
    scores = evaluate(found[0], query.pids, query.cameras, found[1], gallery.pids, gallery.cameras)
    losses = [[result.loss, result.loss_hard, result.loss_soft] for result in results]
    networks = {f"{role}.{key}": value for role, net in roles.items() for key, value in net.state_dict().items()}
    return Training([r.labels for r in results], np.array(losses), networks, scores.mean_ap, untrained)


def train_all(processes: Processes, splits: Any, small: TrainingSettings) -> tuple[Training, ...]:
    """DCCC in double and in single precision, SpCL and camera-aware DCCC in single precision."""
    spcl, wide = change(small, method="spcl"), change(small, sampler__instances=8, clustering__k_inter=6)
    aware = change(wide, method="dccc_cam", clustering__k_intra=2)
    chosen = (small, torch.float64), (small, torch.float32), (spcl, torch.float32), (aware, torch.float32)
    return tuple(train(processes, splits, *each) for each in chosen)


@pytest.fixture(scope="module")
def trainings(splits: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[tuple[Training, ...]]]:
    """By the number of processes, of each process: the trainings of `train_all`."""
    small = small_settings(epochs=3, train__iters=4, sampler__batch=32, sampler__instances=4, optimizer__lr=3.5e-4)
    found = {1: [train_all(Processes(), splits, small)]}
    for size in SIZES:
        folder = tmp_path_factory.mktemp(f"processes{size}")
        found[size] = in_processes(train_all, size, folder, splits, small)
    return found


def each(found: dict[int, list[tuple[Training, ...]]], size: int, number: int) -> list[Training]:
    """The training of every process of `size` with this number in `train_all`."""
    return [pair[number] for pair in found[size]]


@pytest.mark.parametrize("size", SIZES)
def test_processes_find_the_same_labels_at_every_epoch(trainings: Any, size: int) -> None:
    alone = trainings[1][0][0]
    assert [labels.max() + 1 >= 8 for labels in alone.labels] == [True] * 3
    for training in each(trainings, size, 0):
        np.testing.assert_array_equal(training.labels, alone.labels)


@pytest.mark.parametrize("size", SIZES)
def test_processes_have_the_same_losses(trainings: Any, size: int) -> None:
    alone = trainings[1][0][0]
    for training in each(trainings, size, 0):
        np.testing.assert_allclose(training.losses, alone.losses, rtol=0, atol=1e-9)
        assert training.mean_ap == pytest.approx(alone.mean_ap, abs=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_processes_have_the_same_statistics_and_weights(trainings: Any, size: int) -> None:
    alone = trainings[1][0][0]
    assert len([key for key in alone.networks if key.endswith("running_var")]) == 2 * 13
    for training in each(trainings, size, 0):
        assert training.networks.keys() == alone.networks.keys()
        for key, value in alone.networks.items():
            torch.testing.assert_close(training.networks[key], value, rtol=0, atol=1e-9, msg=key)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [1, 2, 3], ids=["dccc", "spcl", "dccc_cam"])
def test_processes_agree_in_single_precision_bit_for_bit(trainings: Any, size: int, number: int) -> None:
    alone = trainings[1][0][number]
    for training in each(trainings, size, number):
        np.testing.assert_array_equal(training.labels, alone.labels)
        assert [k for k, v in alone.networks.items() if not torch.equal(training.networks[k], v)] == []
        np.testing.assert_array_equal(training.losses, alone.losses)
        assert training.mean_ap == alone.mean_ap


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [0, 1])
def test_embeddings_do_not_depend_on_who_computes_them(trainings: Any, size: int, number: int) -> None:
    """Fewer images than processes, a last chunk that is not full, processes without any: bit for bit the same."""
    alone = trainings[1][0][number]
    assert [len(rows) for rows in alone.untrained] == list(COUNTS)
    for training in each(trainings, size, number):
        for rows, other in zip(training.untrained, alone.untrained, strict=True):
            assert torch.equal(rows, other)
