"""What a method of training is: the part of an epoch in which methods differ.

N: training images · B: images in the global batch · K: classes · D: width of the embedding.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.clustering import CameraAware, PseudoLabels, Reliability, cluster_spread, eps_at, pseudo_labels
from pipeline.clustering import centroids as cluster_centroids
from pipeline.clustering.eps_choice import clusterings
from pipeline.clustering.few_clusters import TooFew
from pipeline.common.errors import UserError
from pipeline.common.seeding import derive_seed
from pipeline.config.schema import MethodSettings, TrainingSettings
from pipeline.contrast import CameraProxies, proxy_rows
from pipeline.datasets.links import Links

T = TypeVar("T")
Extract = Callable[[], torch.Tensor]  # embeddings (N, D) of the training images by the student, L2-normalised
Timed = Callable[[str], AbstractContextManager[object]]  # runs and times a named part of the epoch


class InFirst(Protocol):
    """Computes something in the first process and hands it to all."""

    def __call__(self, compute: Callable[[], T], /) -> T: ...


class Memory(Protocol):
    """What the loss contrasts against, one row per class."""

    @property
    def centroids(self) -> torch.Tensor:
        """(K, D), as of the last update."""

    def update_(self, features: torch.Tensor, labels: torch.Tensor, images: torch.Tensor | None = None) -> None:
        """Moves the rows towards student embeddings (B, D) of images (B,) of classes (B,)."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> Any:
        """Takes over what `state_dict` gave."""


@dataclass(frozen=True)
class Clusters:
    """Clusters of the training images, with what describes them.

    Attributes:
        found: pseudo labels and what the clustering says of them.
        centroids: (K, D), L2-normalised means.
        stats: figures for the user, named as in `EpochResult`.
        proxies: see `proxy_rows`; None where the settings want none.
    """

    found: PseudoLabels
    centroids: NDArray[np.float32] = field(repr=False)
    stats: dict[str, Any]
    proxies: NDArray[np.float32] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class EpochStart:
    """What the steps of an epoch begin with.

    Attributes:
        labels: (N,) clusters 0 .. K - 1, -1 for outliers.
        targets: (N,) the class of each image in the loss; -1 for images that are in no batch.
        memory: of the classes.
        stats: figures for the user, named as in `EpochResult`.
        proxies: of the clusters in each camera, see `loss.proxies`; None where there are none.
    """

    labels: NDArray[np.int64] = field(repr=False)
    targets: NDArray[np.int64] = field(repr=False)
    memory: Memory = field(repr=False)
    stats: dict[str, Any] = field(default_factory=dict)
    proxies: CameraProxies | None = field(default=None, repr=False)


class Method(ABC):
    """A method, with the settings of one training.

    Args:
        settings: of the training.
        cameras: (N,) that took the training images; None where they are not known.

    Raises:
        UserError: the settings ask for cameras that are not known.

    Attributes:
        title: as its authors write it.
        source: where it was published.
        defaults: place of a setting -> what the value `method` stands for there.
        allowed: place of a setting -> the values that belong to the method; all others are free.
        Settings: of the method's own settings with their ranges and defaults; `methods.<name>` in params.yaml.
        draws_outliers: whether outliers are in batches too.
        links: of the training images, which every clustering keeps; None without.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]]
    allowed: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    draws_outliers: ClassVar[bool] = False
    links: Links | None = None

    def __init__(self, settings: TrainingSettings, cameras: NDArray[np.int64] | None = None) -> None:
        if settings.clustering.distance == "camera_jaccard" and cameras is None:
            raise UserError(
                "clustering.distance is camera_jaccard, but the cameras of the training images are not known: "
                "set it to jaccard, or name them (own.camera, or the column camid of own.table)"
            )
        if settings.loss.proxies > 0 and cameras is None:
            raise UserError(
                "loss.proxies is above 0, but the cameras of the training images are not known: set it to 0, or name "
                "them (own.camera, or the column camid of own.table)"
            )
        self.settings, self.cameras = settings, cameras

    @classmethod
    def conflict(cls, settings: TrainingSettings) -> str | None:
        """What does not fit together in otherwise valid settings, in one line for the user; None where all does."""
        return None

    def eps(self, epoch: int) -> float:
        """DBSCAN's radius in `epoch` (from 0)."""
        clustering = self.settings.clustering
        return eps_at(epoch, schedule=clustering.eps_schedule, start=clustering.eps, epochs=self.settings.epochs)

    @abstractmethod
    def cluster(self, features: NDArray[np.float32], *, epoch: int, timed: Timed = nullcontext) -> PseudoLabels:
        """Pseudo labels of embeddings (N, D) as in `epoch`."""

    @abstractmethod
    def begin(
        self, extract: Extract, *, epoch: int, device: torch.device, in_first: InFirst, timed: Timed
    ) -> EpochStart:
        """Pseudo labels, targets and memory of `epoch` (from 0), the same in every process.

        Args:
            extract: gives the embeddings of the training images; takes the longest part of an epoch's beginning.
            epoch: from 0.
            device: of the memory.
            in_first: for what one process computes for all.
            timed: for what is to appear in the times of the epoch.
        """

    @abstractmethod
    def restored(
        self, labels: NDArray[np.int64], memory: Mapping[str, Any], stats: dict[str, Any], *, device: torch.device
    ) -> EpochStart:
        """What `begin` gave, from its labels and stats and the later state of its memory: not normalised once more."""

    @abstractmethod
    def loss(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor | None,
        memory: Memory,
        targets: torch.Tensor,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The total loss, its hard part (L_c) and its soft part (L_ss) of a batch.

        Args:
            student: (B, D) embeddings of view 1, in which the total is differentiated.
            teacher: (B, D) embeddings of view 2; None where the settings have no teacher.
            memory: as it was before this step's update.
            targets: (B,) classes.
            weights: (B,) of the images, see `loss.camera_weight`; None: all weigh the same.
        """

    def proxies(
        self, labels: NDArray[np.int64], rows: NDArray[np.float32] | torch.Tensor | None, *, device: torch.device
    ) -> CameraProxies | None:
        """Camera proxies with these rows (P, D), which belong to labels (N,); None where there are none."""
        if rows is None or len(rows) == 0 or self.cameras is None:
            return None
        return CameraProxies(torch.as_tensor(rows).to(device), labels, self.cameras)

    def end(self, memory: Memory) -> None:  # noqa: B027 - a hook
        """Called when the steps of an epoch are done."""

    def state_dict(self) -> dict[str, Any]:
        """What the method keeps from epoch to epoch."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - a hook
        """Takes over what `state_dict` gave."""

    def kept(self) -> dict[str, float]:
        """What a model file has to carry so that `cluster` finds what the last epoch would find."""
        return {}

    def load_kept(self, kept: Mapping[str, float]) -> None:  # noqa: B027 - a hook
        """Takes over what `kept` gave."""

    def _pseudo_labels(
        self, features: NDArray[np.float32], epoch: int, timed: Timed, reliability: Reliability | None = None
    ) -> PseudoLabels:
        """DBSCAN on the Jaccard distance, as the settings say for `epoch`."""
        how = self.settings.clustering
        return pseudo_labels(
            features,
            eps=self.eps(epoch),
            min_samples=how.min_samples,
            k1=how.k1,
            k2=how.k2,
            neighbours=how.neighbours,
            reliability=reliability,
            camera_aware=self.camera_aware(epoch),
            links=self.links,
            seed=derive_seed(self.settings.seed, "recall", epoch),
            timed=timed,
        )

    def camera_aware(self, epoch: int) -> CameraAware | None:
        """How `epoch` clusters by the camera-aware distance, None where the distance is the plain one."""
        how = self.settings.clustering
        if how.distance == "jaccard":
            return None
        assert self.cameras is not None
        k2_intra, k2_inter = (how.k2_first, how.k2_first) if epoch == 0 else (how.k2_intra, how.k2_inter)
        return CameraAware(
            cameras=self.cameras, k_intra=how.k_intra, k_inter=how.k_inter, k2_intra=k2_intra, k2_inter=k2_inter
        )

    def _require_clusters(
        self, labels: NDArray[np.int64], features: NDArray[np.float32], epoch: int, in_first: InFirst
    ) -> None:
        """Raises UserError unless there are clusters enough for a batch; it says what each eps finds."""
        sampler, how = self.settings.sampler, self.settings.clustering
        found = int(labels.max(initial=-1)) + 1
        if found >= max(1, sampler.batch // sampler.instances):
            return
        k1 = min(how.k1, len(labels) - 1)
        table = in_first(
            lambda: (
                clusterings(
                    features,
                    k1=[k1],
                    k2=min(how.k2, k1),
                    min_samples=how.min_samples,
                    neighbours=how.neighbours,
                    camera_aware=self.camera_aware(epoch),
                    links=self.links,
                ).table
            )
        )
        raise TooFew(
            found=found,
            images=len(labels),
            batch=sampler.batch,
            instances=sampler.instances,
            eps=self.eps(epoch),
            start=how.eps,
            min_samples=how.min_samples,
        ).error(table, k1=k1)

    def _described(self, features: NDArray[np.float32], epoch: int, timed: Timed) -> Clusters:
        """`cluster`, with centroids and figures."""
        found = self.cluster(features, epoch=epoch, timed=timed)
        centroids = cluster_centroids(features, found.labels)
        neighbours = self.settings.clustering.neighbours
        within, between = cluster_spread(features, found.labels, centroids, neighbours=neighbours)
        stats = {
            "num_unreliable": found.num_unreliable,
            "distance_within": within,
            "distance_between": between,
            "neighbour_recall": found.neighbour_recall,
            "num_links_mended": found.num_links_mended,
            "silhouette": found.silhouette,
        }
        proxies = None
        if self.settings.loss.proxies > 0 and self.cameras is not None:
            proxies = proxy_rows(features, found.labels, self.cameras)
        return Clusters(found, centroids, stats, proxies)
