"""Which images make up the batches of an epoch: random clusters, several images of each, cameras mixed.

Shuffle the clusters; from each take a random anchor image and `instances` - 1 more, from other cameras than the
anchor's, or from the rest of the cluster if it has one camera only. Consecutive clusters form batches, an incomplete
last batch is dropped, and a new shuffle begins. The plan of an epoch is a function of (seed, epoch) and the labels
alone. (The identity sampler of Hermans et al. 2017 with the camera rule of the unsupervised re-ID literature.)

With outliers (SpCL, Ge et al. 2020) clusters and outliers are shuffled together; a cluster gives M images, an outlier
itself; the images, one shuffle after another, are cut into batches.

Legend: N training images, K clusters, B images per batch, M `instances` of a cluster.
"""

from functools import partial

import numpy as np

from pipeline.common.errors import UserError

OUTLIER = -1


def epoch_batches(
    labels: np.ndarray,
    camids: np.ndarray | None,
    *,
    batch: int,
    instances: int,
    iters: int,
    camera_aware: bool,
    seed: int,
    epoch: int,
    outliers: bool = False,
) -> np.ndarray:
    """Plans the batches of one epoch.

    The images beside the anchor are drawn without replacement where there are at least M to choose from, else with
    replacement; a cluster of one image repeats it. Published samplers skip such a cluster, which misaligns the batch.

    Args:
        labels: (N,) int cluster of each image; -1 = outlier, in no batch unless `outliers`.
        camids: (N,) int camera of each image; ignored, and may be None, if `camera_aware` is False.
        batch: B, a multiple of `instances`.
        instances: M.
        iters: number of batches.
        camera_aware: prefer other cameras than the anchor's.
        seed: 0 or more; not one that draws other things as well.
        epoch: from 0.
        outliers: they are drawn too; a cluster's images may then be split between two batches.

    Returns:
        (iters, B) int64 image indices; the M images of a cluster are neighbours, the anchor first.

    Raises:
        ValueError: B is no multiple of M, or, without outliers, there are no clusters or fewer than B/M.
        UserError: cameras are wanted and unknown.
    """
    labels = np.asarray(labels)
    if batch % instances:
        raise ValueError(f"batch must be a multiple of instances, got {batch} and {instances}")
    if camera_aware and camids is None:
        raise UserError("the training images have no cameras: set sampler.camera_aware to false")
    members, starts, block_starts, block_stops = _clusters(labels, camids if camera_aware else None)
    num_clusters, clusters_per_batch = len(starts) - 1, batch // instances
    generator = np.random.default_rng([seed, epoch])
    draw = partial(
        _images_of,
        members=members,
        starts=starts,
        blocks=(block_starts, block_stops),
        instances=instances,
        generator=generator,
    )
    if outliers:
        alone = np.flatnonzero(labels == OUTLIER)
        order = _class_order(num_clusters, len(alone), instances, iters * batch, generator)
        images = _joined(order, draw(order[order < num_clusters]), alone)
    else:
        if num_clusters < max(1, clusters_per_batch):
            raise ValueError(f"a batch needs {clusters_per_batch} clusters, got {num_clusters}")
        images = draw(_cluster_order(num_clusters, clusters_per_batch, iters, generator))
    return images.reshape(-1)[: iters * batch].reshape(iters, batch)


def _joined(order: np.ndarray, of_clusters: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Images of the classes of `order`: M of each cluster, in turn those of `of_clusters` (n, M); an outlier itself."""
    num_classes = int(order.max()) + 1
    is_cluster = order < num_classes - len(alone)
    lengths = np.where(is_cluster, of_clusters.shape[1], 1)
    from_cluster = np.repeat(is_cluster, lengths)
    images = np.empty(len(from_cluster), dtype=np.int64)
    images[from_cluster] = of_clusters.ravel()
    images[~from_cluster] = alone[order[~is_cluster] - (num_classes - len(alone))]
    return images


def _images_of(
    order: np.ndarray,
    *,
    members: np.ndarray,
    starts: np.ndarray,
    blocks: tuple[np.ndarray, np.ndarray],
    instances: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """(n, M) images of the clusters of `order` (n,), see `_clusters`."""
    sizes = np.diff(starts)[order]
    anchors = starts[order] + generator.integers(sizes)
    chosen = np.empty((len(order), instances), dtype=np.int64)
    for row, (cluster, anchor) in enumerate(zip(order.tolist(), anchors.tolist(), strict=True)):
        start, stop = int(starts[cluster]), int(starts[cluster + 1])
        left_out = (int(blocks[0][anchor]), int(blocks[1][anchor]))
        if left_out == (start, stop):  # one camera only
            left_out = (anchor, anchor + 1) if stop - start > 1 else (stop, stop)
        chosen[row, 0] = anchor
        chosen[row, 1:] = _choose_others(start, stop, left_out, instances, generator)
    return np.asarray(members[chosen])


def _choose_others(
    start: int, stop: int, left_out: tuple[int, int], instances: int, generator: np.random.Generator
) -> np.ndarray:
    """(M - 1,) positions in [start, stop), except those in [left_out)."""
    width = left_out[1] - left_out[0]
    pool = stop - start - width
    if pool >= instances:
        picks = start + generator.choice(pool, size=instances - 1, replace=False)
    else:
        picks = start + generator.integers(pool, size=instances - 1)
    return picks + width * (picks >= left_out[0])


def _clusters(labels: np.ndarray, camids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sorts the images by cluster, within it by camera.

    Returns:
        members: (n,) image indices, outliers left out.
        starts: (K + 1,) where each cluster starts in `members`.
        block_starts, block_stops: (n,) the run of images of the same cluster and camera around each position;
            without cameras each image is a run of its own.
    """
    images = np.flatnonzero(labels != OUTLIER)
    keys = labels[images]
    cameras = np.arange(len(images)) if camids is None else np.asarray(camids)[images]
    order = np.lexsort((images, cameras, keys))
    members, keys, cameras = images[order], keys[order], cameras[order]
    new_cluster = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    starts = np.append(new_cluster, len(members))
    new_block = np.flatnonzero((np.diff(keys, prepend=keys[:1] - 1) != 0) | (np.diff(cameras, prepend=-1) != 0))
    lengths = np.diff(np.append(new_block, len(members)))
    block_starts = np.repeat(new_block, lengths)
    return members, starts, block_starts, block_starts + np.repeat(lengths, lengths)


def _cluster_order(
    num_clusters: int, clusters_per_batch: int, iters: int, generator: np.random.Generator
) -> np.ndarray:
    """(iters * clusters_per_batch,) clusters: shuffles one after another, each cut to whole batches."""
    batches_per_shuffle = num_clusters // clusters_per_batch
    num_shuffles = -(-iters // batches_per_shuffle)
    shuffles = [
        generator.permutation(num_clusters)[: batches_per_shuffle * clusters_per_batch] for _ in range(num_shuffles)
    ]
    return np.concatenate(shuffles)[: iters * clusters_per_batch]


def _class_order(
    num_clusters: int, num_outliers: int, instances: int, num_images: int, generator: np.random.Generator
) -> np.ndarray:
    """Classes (clusters, then outliers) in the order of their shuffles, enough of them for `num_images` images."""
    per_shuffle = num_clusters * instances + num_outliers
    shuffles = [generator.permutation(num_clusters + num_outliers) for _ in range(-(-num_images // per_shuffle))]
    return np.concatenate(shuffles)
