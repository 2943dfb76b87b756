"""The settings that fit a set of crops: rules of thumb, whose limits are held here."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fitting.crops import Crops
from pipeline.fitting.recipe import RECIPE, Fit, eps_fit, fit, image_shape


def crops(images: int, *, height: int = 128, width: int = 64) -> Crops:
    aspect = height / width
    return Crops(images, height, width, (aspect, aspect, aspect), cameras=0, scored=False)


def settings_for(images: int, *, gpu: bool = False, weights: dict[str, Any] | None = None, **size: int) -> Any:
    return fit(crops(images, **size), gpu=gpu, find=(weights or {}).get).settings


@pytest.mark.parametrize(
    ("gpu", "weights", "expected"),
    [
        (True, {"resnet50": "there"}, ("resnet50", "imagenet")),
        (True, {"resnet18": "here"}, ("resnet18", "imagenet")),
        (True, {"resnet18": "there"}, ("resnet18", "synthetic")),  # the server is not asked for others
        (True, {}, ("resnet18", "synthetic")),
        (False, {"resnet18": "there", "resnet50": "here"}, ("resnet18", "imagenet")),
        (False, {"resnet50": "here"}, ("resnet50", "imagenet")),
        (False, {}, ("resnet10_w32", "synthetic")),
    ],
)
def test_backbone_is_one_whose_weights_can_be_had(gpu: bool, weights: Any, expected: tuple[str, str]) -> None:
    chosen = settings_for(500, gpu=gpu, weights=weights)
    assert (chosen["backbone"], chosen["pretrained"]) == expected


@given(st.floats(0.34, 2.9), st.sampled_from([64 * 32, 128 * 64, 256 * 128]))
def test_image_keeps_the_crops_shape(aspect: float, area: int) -> None:
    height, width = image_shape(aspect, area=area)
    assert height % 16 == width % 16 == 0
    assert 0.55 < height / width / aspect < 1.8 and 0.5 < height * width / area < 2


def test_image_of_wide_crops_is_wide_and_the_usual_ones_are_met() -> None:
    assert image_shape(2.0, area=256 * 128) == (256, 128)
    assert image_shape(2.0, area=64 * 32) == (64, 32)
    assert image_shape(0.5, area=64 * 32) == (32, 64)
    assert image_shape(1.0, area=128 * 64) == (96, 96)
    assert image_shape(9.0, area=128 * 64) == image_shape(3.0, area=128 * 64)


@pytest.mark.parametrize("images", [20, 150, 999, 1000, 4999, 5000, 50_000])
@pytest.mark.parametrize("gpu", [True, False])
def test_epoch_draws_each_image_once_or_twice(images: int, gpu: bool) -> None:
    chosen = settings_for(images, gpu=gpu, weights={"resnet50": "here", "resnet18": "here"})
    batch = 256 if chosen["sampler.batch"] == RECIPE else chosen["sampler.batch"]
    assert images <= chosen["train.iters"] * batch <= 2 * images + batch
    assert chosen["model.bn_group"] == chosen["sampler.batch"]


def row(clusters: int) -> pd.Series:
    return pd.Series({"k1": 6, "eps": 0.45, "clusters": clusters, "outliers": 0.1, "largest": 0.05})


def test_few_clusters_make_a_smaller_batch() -> None:
    chosen = Fit({"sampler.batch": 32, "sampler.instances": 4, "model.bn_group": 32, "clustering.eps": RECIPE})
    assert eps_fit(row(16), chosen).settings == chosen.settings | {"clustering.eps": 0.45}
    smaller = {"clustering.eps": 0.45, "sampler.batch": 12, "model.bn_group": 12}
    assert eps_fit(row(7), chosen).settings == chosen.settings | smaller
    assert eps_fit(row(2), chosen).settings["sampler.batch"] == 8
    nothing = eps_fit(None, chosen)
    assert nothing.settings == chosen.settings and "tell no individuals apart" in nothing.reasons[0]
