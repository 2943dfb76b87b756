"""Cluster contrastive learning: the memory of centroids, the loss against it, and the teacher."""

from pipeline.contrast.camera_proxies import CameraProxies, proxy_rows
from pipeline.contrast.camera_weights import image_weights
from pipeline.contrast.hybrid import HybridMemory
from pipeline.contrast.losses import contrastive_loss
from pipeline.contrast.memory import UPDATES, ClusterMemory
from pipeline.contrast.teacher import teacher_decay, update_teacher_

__all__ = [
    "UPDATES",
    "CameraProxies",
    "ClusterMemory",
    "HybridMemory",
    "contrastive_loss",
    "image_weights",
    "proxy_rows",
    "teacher_decay",
    "update_teacher_",
]
