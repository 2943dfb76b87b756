"""The values of settings that fit a set of crops, each with its reason.

The paper's recipe is for 12,936 photographs, a GPU, and 51,200 draws per epoch. What differs here are rules of thumb of
this project: small images and networks for a CPU, batches and neighbours for few images, and epochs in which each image
is drawn once or twice. Smaller networks learn faster, by the recipe of the drawn people.

N: training images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.config.schema import DRAWN_WEIGHTS
from pipeline.fitting.crops import Crops

# Backbones with published weights, the one to prefer first, and the one without.
ON_A_GPU, ON_A_CPU = ("resnet50", "resnet34", "resnet18"), ("resnet18", "resnet34", "resnet50")
SMALL_ON_A_GPU, SMALL_ON_A_CPU = "resnet18", "resnet10_w32"
_AREA_ON_A_GPU, _AREA_ON_A_CPU, _SMALL_AREA = 256 * 128, 128 * 64, 64 * 32  # pixels of an image
_UNIT, _MOST_UNITS = 16, 32  # a cell of the last feature map is 16 pixels wide
_NARROWEST = 1 / 3  # of height by width, and of width by height
_MANY, _FEW = 5000, 1000  # images
_BATCH_OF_RECIPE = 256
_OF_THE_DEMO = {"optimizer.lr": 1e-3, "memory.tau": 0.05, "loss.smoothing": 0.1}  # a small network learns faster
RECIPE = "recipe"


@dataclass(frozen=True)
class Fit:
    """Settings for a set of crops.

    Attributes:
        settings: place (`section.key`) of every setting that is looked at -> its value, which may be `recipe`.
        reasons: one line each, for the user.
    """

    settings: dict[str, Any]
    reasons: list[str] = field(default_factory=list)


def fit(crops: Crops, *, gpu: bool, find: Callable[[str], str | None]) -> Fit:
    """Settings that fit `crops`, all but the data set's name and eps.

    Args:
        crops: the images.
        gpu: whether there is one to train on.
        find: backbone -> "here" or "there" if its published weights can be had, see `fetch.where_to_have`.
    """
    found = Fit({"clustering.eps": RECIPE})
    _network(found, gpu=gpu, find=find)
    small = found.settings["pretrained"] == DRAWN_WEIGHTS
    _image(found, crops, area=_AREA_ON_A_GPU if gpu else _SMALL_AREA if small else _AREA_ON_A_CPU)
    _batch(found, crops.images, gpu=gpu)
    _neighbours(found, crops.images)
    _epochs(found, crops.images, gpu=gpu, small=small)
    return found


def _network(found: Fit, *, gpu: bool, find: Callable[[str], str | None]) -> None:
    preferred, *others = ON_A_GPU if gpu else ON_A_CPU
    machine = "a GPU" if gpu else "a CPU"
    place = find(preferred)
    backbone = preferred if place else next((name for name in others if find(name) == "here"), None)
    if backbone is None:
        backbone = SMALL_ON_A_GPU if gpu else SMALL_ON_A_CPU
        found.settings.update(backbone=backbone, pretrained=DRAWN_WEIGHTS)
        found.reasons.append(
            f"backbone {backbone}, pretrained {DRAWN_WEIGHTS}: ImageNet weights are neither in data/raw/weights nor to "
            f"be fetched; a small network for {machine} starts from what drawn people have taught it"
        )
        return
    found.settings.update(backbone=backbone, pretrained="imagenet")
    how = "can be fetched" if place == "there" else "are in data/raw/weights"
    found.reasons.append(f"backbone {backbone}, pretrained imagenet: for {machine}, and its ImageNet weights {how}")


def _image(found: Fit, crops: Crops, *, area: int) -> None:
    height, width = image_shape(crops.aspects[1], area=area)
    found.settings.update({"image.height": height, "image.width": width})
    shape = "higher than wide" if height > width else "wider than high" if width > height else "square"
    found.reasons.append(
        f"image.height {height}, image.width {width}: the crops are {shape} ({crops.height} x {crops.width}), and so "
        "is what the network sees"
    )
    pad = max(2, round(min(height, width) / 12)) if area != _AREA_ON_A_GPU else RECIPE
    found.settings["augment.pad"] = pad


def image_shape(aspect: float, *, area: int) -> tuple[int, int]:
    """Height and width, multiples of 16, of about `area` pixels and an aspect (height by width) of about `aspect`.

    An aspect beyond 1:3 and 3:1 is taken for that.
    """
    aspect = min(max(aspect, _NARROWEST), 1 / _NARROWEST)

    def fault(shape: tuple[int, int]) -> float:
        height, width = shape
        return 1.5 * abs(math.log(height / width / aspect)) + abs(math.log(height * width / area))

    sides = [_UNIT * number for number in range(1, _MOST_UNITS + 1)]
    return min(((height, width) for height in sides for width in sides), key=fault)


def _batch(found: Fit, images: int, *, gpu: bool) -> None:
    if images >= _MANY and gpu:
        found.settings.update(dict.fromkeys(("sampler.batch", "sampler.instances", "model.bn_group"), RECIPE))
        return
    batch, instances = (32, 4) if images < _FEW else (64, 8)
    found.settings.update({"sampler.batch": batch, "sampler.instances": instances, "model.bn_group": batch})
    found.reasons.append(
        f"sampler.batch {batch}, sampler.instances {instances}: {batch // instances} clusters in a batch, for "
        f"{images:,} images"
    )


def eps_fit(found: pd.Series | None, chosen: Fit) -> Fit:
    """The settings with the eps that was suggested, and with a batch of fewer clusters where it finds few.

    A batch holds at most half of them, as their number may fall.

    Args:
        found: of `eps_choice.suggested`; None: no eps tells individuals apart.
        chosen: of `fit`.
    """
    if found is None:
        advice = "these starting weights tell no individuals apart: expect little without better ones (pretrained)"
        return Fit(chosen.settings, [f"clustering.eps as the recipe says: {advice}"])
    eps, clusters = float(found["eps"]), int(found["clusters"])
    values = {**chosen.settings, "clustering.eps": eps}
    reasons = [f"clustering.eps {eps:g}: the starting weights find {clusters} clusters, and no other eps finds more"]
    batch, instances = values["sampler.batch"], values["sampler.instances"]
    most = max(2, clusters // 2)
    if batch != RECIPE and batch // instances > most:
        values |= {"sampler.batch": most * instances, "model.bn_group": most * instances}
        reasons.append(f"sampler.batch {most * instances}: {most} clusters in a batch, half of those found")
    return Fit(values, reasons)


def _neighbours(found: Fit, images: int) -> None:
    k1 = RECIPE if images >= _MANY else 20 if images >= 2000 else 10 if images >= 300 else 6
    min_samples = 4 if images >= _FEW else 3 if images >= 300 else 2
    found.settings.update({"clustering.k1": k1, "clustering.min_samples": min_samples})
    if k1 != RECIPE:
        found.reasons.append(
            f"clustering.k1 {k1}, clustering.min_samples {min_samples}: among {images:,} images an individual has few"
        )


def _epochs(found: Fit, images: int, *, gpu: bool, small: bool) -> None:
    draws = 2 if images < 2 * _FEW else 1.5 if gpu else 1
    batch, by_recipe = found.settings["sampler.batch"], gpu and images >= _MANY
    iters = math.ceil(draws * images / (_BATCH_OF_RECIPE if batch == RECIPE else batch))
    epochs = 50 if gpu else 40 if images < 300 else 30 if images < 2 * _FEW else 20
    found.settings.update(
        {
            "train.iters": iters,
            "epochs": RECIPE if by_recipe else epochs,
            "train.eval_step": RECIPE if gpu else 5,
            "teacher.decay": RECIPE if by_recipe else 0.995,
            "optimizer.warmup_epochs": 0 if small else RECIPE if by_recipe else epochs // 7,
            **(_OF_THE_DEMO if small else dict.fromkeys(_OF_THE_DEMO, RECIPE)),
        }
    )
    number = "as the recipe says" if by_recipe else epochs
    found.reasons.append(f"epochs {number}, train.iters {iters}: an epoch draws each image about {draws:g} times")
    if small:
        shown = ", ".join(f"{place} {value:g}" for place, value in _OF_THE_DEMO.items())
        found.reasons.append(f"{shown}, no warm-up: such a network learns faster, as the demo's does")
