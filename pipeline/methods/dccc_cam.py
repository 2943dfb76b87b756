"""DCCC that knows cameras: its own parts, and the three that keep clusters from forming within a camera.

    distance  neighbours of the own camera and of others apart (CA-Jaccard, CVPR 2024)
    loss      images weigh by the camera entropy of their cluster in the batch (3C, arXiv 2408.09464); besides, they are
              contrasted against one row per cluster and camera (CAP, AAAI 2021)

The combination is this project's; no paper reports it. It needs to know the cameras of the training images.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pipeline.methods.dccc import DCCC


class CameraAwareDCCC(DCCC):
    title = "DCCC, camera-aware"
    source = (
        "DCCC with CA-Jaccard (CVPR 2024), camera entropy (arXiv 2408.09464), camera proxies (AAAI 2021), combined here"
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        **DCCC.defaults,
        "loss.camera_weight": "batch",
        "loss.proxies": 0.5,
        "clustering.distance": "camera_jaccard",
    }
