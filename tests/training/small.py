"""Settings of a training of a second, and how to change some of them."""

from typing import Any

from pipeline.config.schema import TrainingSettings
from pipeline.methods import METHODS

VALUES: dict[str, Any] = {
    "dataset": "crowd",
    "method": "dccc",
    "backbone": "resnet10_w32",
    "epochs": 2,
    "seed": 5,
    "image": {"height": 32, "width": 16},
    "augment": {"flip": 0.5, "pad": 2, "erase": 0.5},
    "sampler": {"batch": 16, "instances": 4, "camera_aware": True},
    "model": {"pooling": "avg", "features": 0, "bn_group": 8},
    "clustering": {
        "eps": 0.6,
        "eps_schedule": "expo",
        "min_samples": 3,
        "k1": 6,
        "k2": 3,
        "neighbours": "exact",
    },
    "memory": {"update": "dynamic", "momentum": 0.1, "tau": 0.05},
    "loss": {"temperature": 0.05, "smoothing": 0.2, "weight": 1.0},
    "optimizer": {"lr": 1e-3, "weight_decay": 5e-4, "schedule": "constant", "step_epochs": 20, "warmup_epochs": 0},
    "teacher": {"decay": 0.99},
    "train": {"iters": 3, "eval_step": 1, "precision": "fp32", "compile": False, "deterministic": True},
}


def change(settings: TrainingSettings, **changes: Any) -> TrainingSettings:
    """The settings with other values: `clustering__eps=0.5`; `method` brings its defaults and its own settings.

    Values are not checked: a test may ask for what params.yaml refuses.
    """
    sections: dict[str, dict[str, Any]] = {}
    if "method" in changes:
        method = METHODS[changes["method"]]
        places = {place.replace(".", "__"): value for place, value in method.defaults.items()}
        changes = {"methods": {changes["method"]: method.Settings()}, **places, **changes}
    for place, value in changes.items():
        section, _, key = place.partition("__")
        if key:
            sections.setdefault(section, {})[key] = value
    whole = {key: value for key, value in changes.items() if "__" not in key}
    parts = {name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()}
    return settings.model_copy(update={**whole, **parts})


def small_settings(**changes: Any) -> TrainingSettings:
    """Those of `VALUES`, changed."""
    return change(
        TrainingSettings.model_validate({**VALUES, "methods": {"dccc": METHODS["dccc"].Settings()}}), **changes
    )
