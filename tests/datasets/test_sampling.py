"""The plan of an epoch: against a loop that follows the rules by the letter, and the rules one by one."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets.sampling import epoch_batches


def naive(
    labels: np.ndarray, camids: np.ndarray | None, batch: int, instances: int, iters: int, seed: int, epoch: int
) -> list[list[int]]:
    """The rules as sentences. It draws in the same order, so that the plans are equal, not only alike."""
    generator = np.random.default_rng([seed, epoch])
    clusters = sorted(set(labels.tolist()) - {-1})
    ids = batch // instances
    whole = len(clusters) // ids
    order: list[int] = []
    for _ in range(-(-iters // whole)):
        order += [clusters[i] for i in generator.permutation(len(clusters))[: whole * ids]]
    order = order[: iters * ids]
    members = {}
    for cluster in clusters:
        images = np.flatnonzero(labels == cluster).tolist()
        members[cluster] = sorted(images, key=lambda i: (0 if camids is None else int(camids[i]), i))
    draws = generator.integers([len(members[cluster]) for cluster in order])
    plan = []
    for cluster, draw in zip(order, draws, strict=True):
        anchor = members[cluster][draw]
        rest = [i for i in members[cluster] if i != anchor]
        pool = [] if camids is None else [i for i in rest if camids[i] != camids[anchor]]
        pool = pool or rest or [anchor]
        if len(pool) >= instances:
            picks = generator.choice(len(pool), size=instances - 1, replace=False)
        else:
            picks = generator.integers(len(pool), size=instances - 1)
        plan += [anchor, *(pool[i] for i in picks)]
    return np.array(plan).reshape(iters, batch).tolist()


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_epoch_batches_equal_the_naive_loop(data: st.DataObject) -> None:
    instances = data.draw(st.integers(1, 5))
    ids = data.draw(st.integers(1, 4))
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=ids, max_size=9))
    names = data.draw(st.lists(st.integers(0, 50), min_size=len(sizes), max_size=len(sizes), unique=True))
    num_outliers = data.draw(st.integers(0, 5))
    seed, epoch, iters = data.draw(st.tuples(st.integers(0, 2**63), st.integers(0, 90), st.integers(1, 9)))
    labels = np.repeat([*names, -1], [*sizes, num_outliers])
    np.random.default_rng(seed).shuffle(labels)
    camids = np.random.default_rng(epoch).integers(1, data.draw(st.integers(2, 5)), size=len(labels))
    for aware in (True, False):
        plan = epoch_batches(
            labels,
            camids,
            batch=ids * instances,
            instances=instances,
            iters=iters,
            camera_aware=aware,
            seed=seed,
            epoch=epoch,
        )
        assert plan.dtype == np.int64
        expected = naive(labels, camids if aware else None, ids * instances, instances, iters, seed, epoch)
        assert plan.tolist() == expected


def groups(
    labels: list[int], camids: list[int] | None, *, iters: int = 300, instances: int = 3, batch: int = 3
) -> np.ndarray:
    plan = epoch_batches(
        np.array(labels),
        None if camids is None else np.array(camids),
        batch=batch,
        instances=instances,
        iters=iters,
        camera_aware=camids is not None,
        seed=1,
        epoch=0,
    )
    return plan.reshape(-1, instances)


def test_epoch_batches_prefer_other_cameras_without_replacement() -> None:
    for anchor, *others in groups([0] * 5, [1, 1, 2, 3, 3]):
        pool = {0: {2, 3, 4}, 1: {2, 3, 4}, 2: {0, 1, 3, 4}, 3: {0, 1, 2}, 4: {0, 1, 2}}[anchor]
        assert set(others) < pool and len(set(others)) == 2


def test_epoch_batches_repeat_where_other_cameras_have_too_few_images() -> None:
    # Anchor 2: two images of another camera are fewer than M = 3, so they are drawn with replacement.
    drawn = Counter(tuple(sorted(row[1:])) for row in groups([0] * 3, [1, 1, 2]) if row[0] == 2)
    assert set(drawn) == {(0, 0), (0, 1), (1, 1)}


def test_epoch_batches_use_the_rest_of_a_cluster_with_one_camera() -> None:
    for anchor, *others in groups([0] * 4, [7, 7, 7, 7]):
        assert anchor not in others and len(set(others)) == 2


def test_epoch_batches_repeat_the_image_of_a_cluster_of_one() -> None:
    assert groups([-1, 5, -1], [1, 1, 1]).tolist() == [[1, 1, 1]] * 300


def test_epoch_batches_leave_out_outliers() -> None:
    labels = [-1, 0, 0, -1, 1, 1, 1, -1]
    assert set(groups(labels, [1, 1, 2, 1, 1, 2, 3, 1]).ravel().tolist()) == {1, 2, 4, 5, 6}


def test_epoch_batches_use_every_cluster_at_most_once_a_shuffle() -> None:
    labels = np.repeat(np.arange(7), 4)  # 3 clusters a batch: 2 whole batches, one cluster is left over
    plan = epoch_batches(labels, None, batch=12, instances=4, iters=2000, camera_aware=False, seed=0, epoch=0)
    clusters = labels[plan].reshape(1000, 6, 4)
    assert (clusters == clusters[:, :, :1]).all()  # the images of a cluster are neighbours
    assert all(len(set(shuffle)) == 6 for shuffle in clusters[:, :, 0].tolist())
    used = np.bincount(clusters[:, :, 0].ravel(), minlength=7)
    assert np.abs(used / 1000 - 6 / 7).max() < 0.05  # none is always left over


def test_epoch_batches_choose_anchors_and_others_evenly() -> None:
    rows = groups([0] * 6, [1, 1, 1, 1, 2, 2], iters=6000)
    assert np.abs(np.bincount(rows[:, 0]) / 6000 - 1 / 6).max() < 0.02
    others = rows[rows[:, 0] == 5][:, 1:]
    assert np.abs(np.bincount(others.ravel())[:4] / others.size - 1 / 4).max() < 0.04


def test_epoch_batches_depend_on_seed_and_epoch_alone() -> None:
    labels, camids = np.repeat(np.arange(20), 5), np.tile([1, 2], 50)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        np.random.default_rng().random()
        return epoch_batches(
            labels, camids, batch=16, instances=4, iters=6, camera_aware=True, seed=seed, epoch=epoch
        ).tolist()

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1) and plan(1, 0) != plan(2, 0)


def test_epoch_batches_ignore_cameras_unless_aware_and_leave_inputs_alone() -> None:
    labels, camids = np.repeat(np.arange(4), 5), np.arange(20)
    labels.flags.writeable = camids.flags.writeable = False
    options: dict[str, Any] = {"batch": 8, "instances": 4, "iters": 5, "seed": 3, "epoch": 2}
    with_cameras = epoch_batches(labels, camids, camera_aware=False, **options)
    assert with_cameras.tolist() == epoch_batches(labels, None, camera_aware=False, **options).tolist()


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 0, 1, 1], {"batch": 7}, "batch must be a multiple of instances, got 7 and 2"),
        ([-1] * 4, {}, "a batch needs 2 clusters, got 0"),
        ([], {}, "a batch needs 2 clusters, got 0"),
        ([0, 0, 1, -1], {"batch": 6}, "a batch needs 3 clusters, got 2"),
        ([0, 0, 1, 1], {"camera_aware": True}, "no cameras: set sampler.camera_aware to false"),
    ],
)
def test_epoch_batches_say_what_to_change(labels: list[int], options: dict[str, int], message: str) -> None:
    settings: dict[str, Any] = {
        "batch": 4,
        "instances": 2,
        "iters": 1,
        "camera_aware": False,
        "seed": 0,
        "epoch": 0,
    } | options
    with pytest.raises(ValueError, match=message):
        epoch_batches(np.array(labels, dtype=np.int64), None, **settings)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(-1, 5), min_size=1, max_size=40),
    iters=st.integers(1, 6),
    epoch=st.integers(0, 3),
    cameras=st.booleans(),
)
def test_outliers_are_drawn_as_often_as_a_cluster_and_once(
    labels: list[int], iters: int, epoch: int, cameras: bool
) -> None:
    found = np.array(labels)
    found[found >= 0] = np.unique(found[found >= 0], return_inverse=True)[1]
    camids = np.arange(len(found)) % 3 if cameras else None
    batches = epoch_batches(
        found, camids, batch=8, instances=4, iters=iters, camera_aware=cameras, seed=1, epoch=epoch, outliers=True
    )
    assert batches.shape == (iters, 8) and batches.min() >= 0 and batches.max() < len(found)
    # One shuffle after another: in each, every cluster has its 4 images side by side and every outlier stands once.
    clusters, alone = int(found.max(initial=-1)) + 1, int((found < 0).sum())
    images = batches.reshape(-1).tolist()
    while images:
        shuffle, images = images[: 4 * clusters + alone], images[4 * clusters + alone :]
        whole = len(shuffle) == 4 * clusters + alone
        seen, rest = [], list(shuffle)
        while rest:
            run = 1 if found[rest[0]] < 0 else 4
            group, rest = rest[:run], rest[run:]
            assert len({found[image] for image in group}) == 1
            seen.append((int(found[group[0]]), group[0] if run == 1 else None))
        assert len(set(seen)) == len(seen)
        assert not whole or len(seen) == clusters + alone


def test_outliers_alone_make_batches() -> None:
    batches = epoch_batches(
        np.full(10, -1), None, batch=8, instances=4, iters=5, camera_aware=False, seed=1, epoch=0, outliers=True
    )
    assert np.bincount(batches.ravel(), minlength=10).tolist() == [4] * 10
