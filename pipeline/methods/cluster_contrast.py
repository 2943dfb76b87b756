"""Cluster Contrast: one radius for all epochs, one row per cluster, hard labels.

DCCC grew out of it, so the epoch is DCCC's with other parts: eps stays, the memory follows one instance after another
(or their mean, or the hardest), and there is no teacher.

Dai et al., "Cluster Contrast for Unsupervised Person Re-Identification", ACCV 2022 (arXiv 2103.11568).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pipeline.methods.dccc import DCCC


class ClusterContrast(DCCC):
    title = "Cluster Contrast"
    source = "Dai et al., ACCV 2022 (arXiv 2103.11568)"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clustering.eps_schedule": "fix",
        "memory.update": "instance",
        "memory.momentum": 0.1,
        "loss.weight": 0.0,
        "loss.camera_weight": "none",
        "loss.proxies": 0.0,
        "clustering.distance": "jaccard",
    }
    allowed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "clustering.eps_schedule": ("fix",),
        "memory.update": ("instance", "mean", "hard"),
        "loss.weight": (0,),
    }
