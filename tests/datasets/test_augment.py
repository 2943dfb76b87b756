"""Views of a batch: against a loop over images and torchvision's transforms, and their random numbers against drawing
one image after the other."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import functional as tv

from pipeline.common.imagenet import IMAGENET_MEAN, IMAGENET_STD
from pipeline.datasets import augment
from pipeline.datasets.augment import (
    ViewParameters,
    apply_views,
    draw_views,
    normalise,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
OPTIONS: dict[str, Any] = {"height": 64, "width": 32, "pad": 5, "flip": 0.5, "erase": 0.5}


def draw(batch: int, *, seed: int = 0, **changes: float) -> ViewParameters:
    return draw_views(batch, **(OPTIONS | changes), generator=np.random.default_rng(seed))


def random_images(batch: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(batch, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


def one_view(image: np.ndarray, flip: bool, shift: np.ndarray, erase: np.ndarray, pad: int) -> torch.Tensor:
    """One image through torchvision's transforms, in the order of the method."""
    height, width, _ = image.shape
    view = torch.from_numpy(image).permute(2, 0, 1)
    if flip:
        view = tv.hflip(view)
    view = tv.crop(tv.pad(view, [pad] * 4), int(shift[0]) + pad, int(shift[1]) + pad, height, width)
    view = tv.normalize(view.float() / 255, IMAGENET_MEAN, IMAGENET_STD)
    top, left, box_height, box_width = erase.tolist()
    for channel in range(3):
        view[channel, top : top + box_height, left : left + box_width] = IMAGENET_MEAN[channel]
    return view


@settings(deadline=None, max_examples=80)
@given(
    batch=st.integers(1, 7),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    pad=st.integers(0, 25),
    seed=st.integers(0, 10**6),
)
def test_apply_views_equal_torchvision_image_by_image(batch: int, height: int, width: int, pad: int, seed: int) -> None:
    images = random_images(batch, height, width, seed)
    views = draw(batch, seed=seed, height=height, width=width, pad=pad, erase=0.8)
    found = apply_views(images, views)
    expected = [
        one_view(image, bool(flip), shift, erase, pad)
        for image, flip, shift, erase in zip(images.numpy(), views.flip, views.shift, views.erase, strict=True)
    ]
    assert found.dtype == torch.float32 and found.is_contiguous()
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=0)
    assert torch.equal(found, augment._apply_on_device(images, views))  # the accelerators' way, to the bit


@pytest.mark.parametrize("device", DEVICES)
def test_normalised_on_every_device_to_the_bit(device: str) -> None:
    images = random_images(5, 64, 32)
    assert torch.equal(augment._normalise_on_device(images.to(device)).cpu(), normalise(images))


@pytest.mark.parametrize("device", DEVICES)
def test_apply_views_on_every_device_to_the_bit(device: str) -> None:
    images, views = random_images(16, 64, 32), draw(16)
    expected = apply_views(images, views)
    assert torch.equal(apply_views(images.to(device), views).cpu(), expected)
    assert torch.equal(augment._apply_on_device(images.to(device), views.to(device)).cpu(), expected)


def test_apply_views_by_hand() -> None:
    image = torch.tensor([[10, 20, 30], [40, 50, 60]], dtype=torch.uint8)[None, :, :, None].repeat(1, 1, 1, 3)
    views = ViewParameters(torch.tensor([True]), torch.tensor([[1, -1]]), torch.tensor([[0, 2, 1, 1]]))
    # mirrored: 30 20 10 / 60 50 40; one row down and one column to the left: 0 60 50 / 0 0 0; then the box
    red = (torch.tensor([[0.0, 60.0, 50.0], [0.0, 0.0, 0.0]]) / 255 - IMAGENET_MEAN[0]) / IMAGENET_STD[0]
    red[0, 2] = IMAGENET_MEAN[0]
    torch.testing.assert_close(apply_views(image, views)[0, 0], red, atol=1e-6, rtol=0)


def test_apply_views_do_not_depend_on_how_the_batch_is_split() -> None:
    images, views = random_images(12, 64, 32), draw(12)
    whole = apply_views(images, views)
    for size in (1, 4, 5, 6):
        parts = [apply_views(images[i : i + size], views[i : i + size]) for i in range(0, 12, size)]
        assert torch.equal(torch.cat(parts), whole)
    chosen = torch.tensor([7, 0, 7])
    assert torch.equal(apply_views(images[chosen], views[chosen]), whole[chosen])


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_apply_views_do_not_depend_on_threads(threads: int) -> None:
    images, views = random_images(7, 64, 32), draw(7)
    expected = augment._apply_on_device(images, views)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert torch.equal(apply_views(images, views), expected)
    finally:
        torch.set_num_threads(before)


def test_apply_views_leave_the_input_alone_and_take_any_strides() -> None:
    images, views = random_images(6, 64, 32), draw(6)
    before = images.clone()
    expected = apply_views(images, views)
    assert torch.equal(images, before)
    strided = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.equal(apply_views(strided, views), expected)
    assert torch.equal(apply_views(images[::2], views[::2]), expected[::2])


def test_apply_views_of_no_image() -> None:
    assert apply_views(random_images(0, 64, 32), draw(0)).shape == (0, 3, 64, 32)


def test_normalise_is_the_test_transform() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    expected = tv.normalize(images.permute(0, 3, 1, 2).float() / 255, IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(normalise(images), expected, atol=1e-6, rtol=0)


def test_draw_views_off_and_always() -> None:
    off = draw(50, pad=0, flip=0, erase=0)
    assert not off.flip.any() and not off.shift.any() and not off.erase.any()
    images = random_images(50, 64, 32)
    assert torch.equal(apply_views(images, off), normalise(images))
    always = draw(50, flip=1, erase=1)
    assert always.flip.all() and (always.erase[:, 2:] > 0).all()


def test_draw_views_erase_nothing_where_no_rectangle_fits() -> None:
    assert not draw(50, height=100, width=1, erase=1).erase.any()


def test_draw_views_follow_the_generator_alone() -> None:
    one, same, other = draw(64), draw(64), draw(64, seed=1)
    for name in ("flip", "shift", "erase"):
        assert torch.equal(getattr(one, name), getattr(same, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))
    generator = np.random.default_rng(0)  # two views of one batch differ
    first, second = (draw_views(64, **OPTIONS, generator=generator) for _ in range(2))
    assert not torch.equal(first.shift, second.shift) and not torch.equal(first.flip, second.flip)


@pytest.mark.parametrize(("height", "width"), [(256, 128), (64, 32), (24, 60)])
def test_draw_views_stay_inside_the_image(height: int, width: int) -> None:
    views = draw(3000, height=height, width=width, erase=1)
    top, left, box_height, box_width = views.erase.unbind(1)
    assert (box_height > 0).all() and (box_height < height).all() and (box_width < width).all()
    assert (top >= 0).all() and (top + box_height <= height).all()
    assert (left >= 0).all() and (left + box_width <= width).all()
    assert views.shift.min() == -5 and views.shift.max() == 5


def draw_box(height: int, width: int) -> tuple[int, int, int, int]:
    """Random erasing as in Zhong et al.: one image, one attempt after the other."""
    for _ in range(100):
        area = random.uniform(0.02, 0.4) * height * width
        aspect = random.uniform(0.3, 1 / 0.3)
        h, w = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if w < width and h < height:
            return random.randint(0, height - h), random.randint(0, width - w), h, w
    return 0, 0, 0, 0


@pytest.mark.parametrize(("height", "width"), [(64, 32), (24, 60)])
def test_draw_views_have_the_distribution_of_drawing_image_by_image(height: int, width: int) -> None:
    number = 20_000
    views = draw(number, seed=3, height=height, width=width)
    random.seed(0)
    reference = np.array([draw_box(height, width) for _ in range(number)])
    erased = views.erase[:, 2] > 0
    boxes = views.erase[erased].numpy()
    for name, measure in {
        "area": lambda b: b[:, 2] * b[:, 3],
        "aspect": lambda b: b[:, 2] / b[:, 3],
        "top": lambda b: b[:, 0] / (height - b[:, 2]),
        "left": lambda b: b[:, 1] / (width - b[:, 3]),
        "bottom": lambda b: b[:, 0] + b[:, 2],
    }.items():
        assert stats.ks_2samp(measure(boxes), measure(reference)).pvalue > 0.01, name
    for rate in (erased.float().mean(), views.flip.float().mean()):
        assert abs(float(rate) - 0.5) < 4 * (0.25 / number) ** 0.5
    for axis in (0, 1):
        counts = np.bincount(views.shift[:, axis].numpy() + 5, minlength=11)
        assert len(counts) == 11 and stats.chisquare(counts).pvalue > 0.01
    pairs = [views.flip.numpy(), erased.numpy(), *views.shift.numpy().T]
    correlation = np.corrcoef(np.array(pairs, dtype=float))
    assert np.abs(correlation - np.eye(4)).max() < 4 / number**0.5
