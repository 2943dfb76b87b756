"""Street scenes behind the people and what stands in front of them, different in every picture."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline.preparation.synthetic.identity import Colour

# Concrete, tarmac, brick, plaster, foliage, sky, wood, glass: any of them in any shade.
STREET = (
    (150, 148, 144),
    (96, 96, 100),
    (150, 92, 74),
    (204, 194, 172),
    (84, 112, 66),
    (160, 186, 210),
    (126, 96, 66),
    (92, 116, 128),
)


def draw_background(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A random scene: ground and wall or sky, blotches, buildings with windows, poles, passers-by far off.

    Args:
        size: (width, height) in pixels.
        rng: its state decides.
    """
    width, height = size
    cells = (int(rng.integers(3, 12)), int(rng.integers(2, 7)))
    blotches = rng.uniform(20, 235, (*cells, 1)) + rng.normal(0, 20, (*cells, 3))
    image = Image.fromarray(np.clip(blotches, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    horizon = int(height * rng.uniform(0.25, 0.8))
    flat = Image.new("RGB", size, _street_colour(rng))
    flat.paste(_street_colour(rng), (0, horizon, width, height))
    image = Image.blend(flat, image, float(rng.uniform(0.1, 0.45)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 5)):
        _draw_building(draw, width, horizon, rng)
    for _ in range(rng.integers(0, 4)):
        _draw_pole(draw, size, rng)
    for _ in range(rng.integers(0, 4)):
        _draw_ground_line(draw, size, horizon, rng)
    if rng.random() < 0.3:
        draw_passer_by(draw, width * rng.uniform(-0.1, 1.1), horizon + 0.1 * height, height * 0.45, rng)
    return image


def draw_occluder(image: Image.Image, rng: np.random.Generator) -> None:
    """Draws a bush, a pole, a railing or another person in front of the scene, mostly over the legs or a side."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    kind = rng.choice(["bush", "pole", "railing", "person", "box"])
    if kind == "bush":
        base = np.array([40, 80, 36]) * rng.uniform(0.7, 1.5)
        top = rng.uniform(0.7, 0.88)
        for _ in range(40):
            x, y = width * rng.uniform(-0.1, 1.1), height * rng.uniform(top, 1.05)
            radius = height * rng.uniform(0.02, 0.06)
            fill = _rgb(base * rng.uniform(0.7, 1.3))
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    elif kind == "pole":
        x, half = width * rng.uniform(0.1, 0.9), width * rng.uniform(0.02, 0.06)
        draw.rectangle((x - half, 0, x + half, height), fill=_street_colour(rng))
    elif kind == "railing":
        fill, top = _street_colour(rng), height * rng.uniform(0.6, 0.8)
        draw.rectangle((0, top, width, top + height * 0.015), fill=fill)
        for x in np.arange(rng.uniform(0, 12), width, width * rng.uniform(0.1, 0.2)):
            draw.rectangle((x, top, x + width * 0.025, height), fill=fill)
    elif kind == "person":
        x = width * (rng.uniform(-0.05, 0.1) if rng.random() < 0.5 else rng.uniform(0.9, 1.05))
        draw_passer_by(draw, x, height * rng.uniform(0.98, 1.2), height * rng.uniform(0.8, 1.0), rng)
    else:
        top, left = height * rng.uniform(0.72, 0.9), width * rng.uniform(-0.3, 0.5)
        draw.rectangle((left, top, left + width * rng.uniform(0.4, 0.8), height), fill=_street_colour(rng))


def draw_passer_by(draw: ImageDraw.ImageDraw, x: float, feet: float, tall: float, rng: np.random.Generator) -> None:
    """A coarse person: `x` and `feet` are where they stand, `tall` their height, all in pixels."""
    top, half = feet - tall, tall * 0.13
    lower, upper = _rgb(rng.integers(20, 200, 3)), _rgb(rng.integers(20, 220, 3))
    for side in (-1, 1):
        foot = x + side * tall * rng.uniform(0.01, 0.09)
        draw.line((x + side * half * 0.4, top + tall * 0.5, foot, feet), fill=lower, width=max(2, int(tall * 0.09)))
    draw.rounded_rectangle((x - half, top + tall * 0.16, x + half, top + tall * 0.54), tall * 0.05, fill=upper)
    draw.ellipse((x - tall * 0.06, top, x + tall * 0.06, top + tall * 0.15), fill=_rgb(rng.integers(30, 210, 3)))


def _draw_building(draw: ImageDraw.ImageDraw, width: int, horizon: int, rng: np.random.Generator) -> None:
    left, wide = width * rng.uniform(-0.3, 0.9), width * rng.uniform(0.2, 0.7)
    top = horizon * rng.uniform(0, 0.7)
    draw.rectangle((left, top, left + wide, horizon), fill=_street_colour(rng))
    pane, columns, rows = _street_colour(rng), int(rng.integers(1, 5)), int(rng.integers(1, 7))
    share = rng.uniform(0.3, 0.8)
    for column in range(columns):
        for row in range(rows):
            x, y = left + wide * (column + 0.2) / columns, top + (horizon - top) * (row + 0.2) / rows
            draw.rectangle((x, y, x + wide * share / columns, y + (horizon - top) * share / rows), fill=pane)


def _draw_pole(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    x, half = size[0] * rng.uniform(0, 1), size[0] * rng.uniform(0.008, 0.05)
    draw.rectangle((x - half, size[1] * rng.uniform(0, 0.4), x + half, size[1]), fill=_street_colour(rng))


def _draw_ground_line(draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    left, right = (int(rng.integers(horizon, size[1] + 1)) for _ in range(2))
    draw.line((0, left, size[0], right), fill=_street_colour(rng), width=int(rng.integers(1, 7)))


def _street_colour(rng: np.random.Generator) -> Colour:
    base = STREET[int(rng.integers(len(STREET)))]
    return _rgb(np.array(base) * rng.uniform(0.6, 1.25) + rng.normal(0, 8, 3))


def _rgb(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(values, 0, 255)
    return int(red), int(green), int(blue)
