"""The methods of training: one file per method, one line of this registry per method.

All share the trainer, the network and the evaluation. A method says what an epoch begins with (pseudo labels, memory,
targets), what its loss is, which values of the shared settings belong to it, and which settings are its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import UserError
from pipeline.config.schema import TrainingSettings
from pipeline.datasets.links import Links
from pipeline.methods.cluster_contrast import ClusterContrast
from pipeline.methods.dccc import DCCC
from pipeline.methods.dccc_cam import CameraAwareDCCC
from pipeline.methods.method import Method
from pipeline.methods.spcl import SpCL

__all__ = ["METHODS", "Method", "restored_method"]

METHODS: dict[str, type[Method]] = {
    "dccc": DCCC,
    "dccc_cam": CameraAwareDCCC,
    "cluster_contrast": ClusterContrast,
    "spcl": SpCL,
}


def restored_method(
    settings: Mapping[str, Any], cameras: NDArray[np.int64] | None = None, links: Links | None = None
) -> Method:
    """The method that trained a model, from the settings that the model file carries.

    Args:
        settings: of the model file.
        cameras: (N,) that took the images which it will cluster; None where they are not known.
        links: of these images; None without.

    Raises:
        UserError: there is no such method, or a setting has another form than in this version; or it asks
            for cameras that are not known.
    """
    name = settings.get("method")
    if name not in METHODS:
        raise UserError(f"the model was trained by method {name!r}; known are {', '.join(METHODS)}")
    values = {key: settings[key] for key in TrainingSettings.model_fields if key in settings}
    own = values.pop("methods", {})
    schema = METHODS[name].Settings
    try:
        restored = TrainingSettings.model_validate(
            {**values, "methods": {name: schema.model_validate(own.get(name, {}))}}
        )
    except ValueError as error:
        raise UserError("the settings of the model are not those of this version: train again") from error
    method = METHODS[name](restored, cameras)
    method.links = links
    method.load_kept(settings.get("kept", {}))
    return method
