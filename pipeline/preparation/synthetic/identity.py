"""Who a drawn person is: clothing, hair, skin, build, bag and shoes.

Every field holds for all of a person's images; what changes from image to image (pose, light, background) is not
here. The palettes are short on purpose: many people share their colours, so that pattern, cut, logo, bag and hair
have to tell them apart. Colours are sRGB triples in 0..255; lengths are fractions of the body's height.
"""

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

# (colour, weight): dark and neutral clothes are the most common ones, as on a street.
UPPER = (
    ((32, 32, 36), 5.0),  # black
    ((225, 224, 220), 4.0),  # white
    ((128, 130, 134), 3.0),  # grey
    ((38, 52, 92), 3.0),  # navy
    ((178, 38, 42), 3.0),  # red
    ((64, 110, 172), 3.0),  # blue
    ((58, 112, 70), 2.0),  # green
    ((206, 176, 66), 2.0),  # yellow
    ((190, 166, 130), 1.5),  # beige
    ((196, 110, 140), 1.5),  # pink
    ((104, 66, 110), 1.0),  # purple
)
LOWER = (
    ((30, 30, 34), 5.0),  # black
    ((46, 60, 96), 4.0),  # dark jeans
    ((98, 122, 160), 3.0),  # light jeans
    ((104, 104, 108), 2.0),  # grey
    ((178, 158, 122), 2.0),  # khaki
    ((214, 212, 206), 1.0),  # white
    ((112, 76, 52), 1.0),  # brown
)
ACCENT = (
    ((28, 28, 30), 3.0),
    ((232, 230, 226), 3.0),
    ((190, 40, 40), 2.0),
    ((46, 84, 160), 2.0),
    ((216, 178, 50), 2.0),
    ((60, 130, 80), 1.0),
    ((118, 78, 50), 2.0),
    ((220, 120, 150), 1.0),
)
HAIR = (
    ((28, 24, 22), 5.0),
    ((74, 48, 32), 3.0),
    ((158, 118, 68), 2.0),
    ((120, 116, 112), 1.0),
    ((130, 60, 34), 1.0),
)
SKIN = (
    ((236, 198, 172), 4.0),
    ((216, 170, 138), 4.0),
    ((166, 116, 84), 2.0),
    ((98, 66, 48), 2.0),
)
SHOES = (((30, 28, 28), 4.0), ((226, 224, 220), 3.0), ((110, 74, 48), 2.0), ((170, 46, 44), 1.0))

PATTERNS = (("plain", 5.0), ("rings", 2.5), ("bars", 1.5), ("checks", 1.5), ("block", 2.5), ("dots", 1.0))
SLEEVES = (("long", 5.0), ("short", 4.0), ("none", 1.0))
LOWER_CUTS = (("trousers", 6.0), ("shorts", 2.5), ("skirt", 2.5))
HAIR_CUTS = (("short", 5.0), ("long", 3.0), ("bun", 1.0), ("bald", 0.7), ("cap", 1.5))
BAGS = (("none", 4.0), ("backpack", 3.0), ("shoulder", 2.5), ("hand", 2.0))
LOGOS = (("none", 4.0), ("disc", 1.5), ("square", 1.5), ("line", 1.5), ("triangle", 1.0))


@dataclass(frozen=True)
class Identity:
    """What stays the same in every image of one person."""

    upper: Colour
    upper_second: Colour  # the pattern's other colour
    pattern: str
    period: float  # of the pattern
    sleeves: str
    sleeve_colour: Colour
    hem: float  # how far down the upper garment reaches: 0.48 a shirt, 0.66 a coat
    open_front: bool  # an open jacket shows the second colour, from the front only
    lower: Colour
    lower_cut: str
    lower_length: float  # where shorts or skirt end
    side_stripe: bool  # along the trousers
    logo: str
    logo_colour: Colour
    logo_size: float
    logo_on_back: bool
    hair: Colour
    hair_cut: str
    cap: Colour
    skin: Colour
    shoes: Colour
    bag: str
    bag_colour: Colour
    bag_size: float
    bag_side: int  # -1 or 1: the person's own right or left
    stature: float  # 0.9 .. 1.03 of the usual height
    breadth: float  # 0.95 .. 1.4 of a slim one's width


def random_identity(rng: np.random.Generator) -> Identity:
    """Draws a person's lasting properties; the same generator state gives the same person."""
    upper = _colour(rng, UPPER)
    second = _other_colour(rng, upper)
    pattern = _choice(rng, PATTERNS)
    return Identity(
        upper=upper,
        upper_second=second,
        pattern=pattern,
        period=float(rng.choice([0.045, 0.07, 0.1])),
        sleeves=_choice(rng, SLEEVES),
        sleeve_colour=second if rng.random() < 0.2 else upper,
        hem=float(rng.choice([0.48, 0.52, 0.64], p=[0.5, 0.3, 0.2])),
        open_front=bool(pattern == "plain" and rng.random() < 0.3),
        lower=_colour(rng, LOWER),
        lower_cut=_choice(rng, LOWER_CUTS),
        lower_length=float(rng.choice([0.66, 0.72, 0.82])),
        side_stripe=bool(rng.random() < 0.2),
        logo=_choice(rng, LOGOS),
        logo_colour=_other_colour(rng, upper),
        logo_size=float(rng.choice([0.025, 0.045])),
        logo_on_back=bool(rng.random() < 0.5),
        hair=_colour(rng, HAIR),
        hair_cut=_choice(rng, HAIR_CUTS),
        cap=_colour(rng, ACCENT),
        skin=_colour(rng, SKIN),
        shoes=_colour(rng, SHOES),
        bag=_choice(rng, BAGS),
        bag_colour=_colour(rng, ACCENT),
        bag_size=float(rng.uniform(0.8, 1.25)),
        bag_side=int(rng.choice([-1, 1])),
        stature=float(rng.uniform(0.9, 1.03)),
        breadth=float(rng.uniform(0.95, 1.4)),
    )


def _choice(rng: np.random.Generator, options: tuple[tuple[str, float], ...]) -> str:
    weights = np.array([weight for _, weight in options])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))][0]


def _colour(rng: np.random.Generator, palette: tuple[tuple[Colour, float], ...]) -> Colour:
    """A palette's colour, with the small difference that two blue shirts have."""
    weights = np.array([weight for _, weight in palette])
    base = palette[int(rng.choice(len(palette), p=weights / weights.sum()))][0]
    red, green, blue = np.clip(np.array(base) * rng.uniform(0.9, 1.1) + rng.normal(0, 5, 3), 0, 255)
    return int(red), int(green), int(blue)


def _other_colour(rng: np.random.Generator, colour: Colour) -> Colour:
    """An accent that can be seen on `colour`: the most different one of three."""
    options = [_colour(rng, ACCENT) for _ in range(3)]
    return max(options, key=lambda option: sum(abs(a - b) for a, b in zip(option, colour, strict=True)))
