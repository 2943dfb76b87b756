"""The coordinates of a body and the strokes that draw it: what `person` draws with.

Body coordinates are fractions of the body's height: `across` (the person's own left is positive), `down` (0 the
crown, 1 the soles) and `ahead` (the direction the person faces). With the person turned by theta away from the
camera's axis (0 faces the camera, pi shows the back),

    x = across cos(theta) + ahead sin(theta)          to the right in the picture
    depth = ahead cos(theta) - across sin(theta)      towards the camera: what is nearer is drawn later
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from pipeline.preparation.synthetic.identity import Colour, Identity

Point = tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """Where and how a person stands in one picture."""

    centre: float  # the body's axis, pixels from the left
    top: float  # the crown, pixels from the top
    tall: float  # the body's height in pixels
    turn: float  # theta, radians
    stride: float  # -1 .. 1: the left leg ahead (1), together (0), the right leg ahead (-1)
    swing: float  # the arms, likewise
    bend: float  # of the elbows, 0 .. 1
    lean: float  # sideways, pixels at the crown for each pixel of height


class Body:
    """A person's place in the picture and the strokes on a transparent layer. `layer` is RGBA."""

    def __init__(self, size: tuple[int, int], identity: Identity, pose: Pose) -> None:
        self.layer = Image.new("RGBA", size)
        self.pen = ImageDraw.Draw(self.layer)
        self.who = identity
        self.pose = pose
        self.tall = pose.tall
        self.cos, self.sin = float(np.cos(pose.turn)), float(np.sin(pose.turn))

    def at(self, across: float, down: float, ahead: float = 0.0) -> Point:
        """Pixel of a point of the body."""
        return self.flat(across * self.cos + ahead * self.sin, down)

    def flat(self, x: float, down: float) -> Point:
        """Pixel of a point given by its offset in the picture, as a fraction of the body's height."""
        y = 1 - (1 - down) * self.who.stature
        return self.pose.centre + (x + (1 - y) * self.pose.lean) * self.tall, self.pose.top + y * self.tall

    def band(self, left: float, right: float, top: float, bottom: float) -> list[Point]:
        """Corners of a piece of cloth that follows the body's axis."""
        return [self.flat(x, down) for x, down in ((left, top), (right, top), (right, bottom), (left, bottom))]

    def half_width(self, across: float, ahead: float) -> float:
        """Half the width in the picture of an elliptic cross-section, as a fraction of the body's height."""
        return float(np.hypot(across * self.cos, ahead * self.sin)) * self.who.breadth

    def pixels(self, length: float) -> int:
        """A stroke's width in pixels, at least 1, of a fraction of the body's height."""
        return max(1, round(length * self.tall))

    def limb(self, points: list[Point], widths: list[float], colour: Colour) -> None:
        """A chain of tapering segments with round joints; widths are fractions of the body's height."""
        halves = [width * self.tall / 2 for width in widths]
        for (x0, y0), (x1, y1), half0, half1 in zip(points, points[1:], halves, halves[1:], strict=False):
            length = max(1e-6, float(np.hypot(x1 - x0, y1 - y0)))
            nx, ny = (y0 - y1) / length, (x1 - x0) / length
            corners = [
                (x0 + nx * half0, y0 + ny * half0),
                (x1 + nx * half1, y1 + ny * half1),
                (x1 - nx * half1, y1 - ny * half1),
                (x0 - nx * half0, y0 - ny * half0),
            ]
            self.pen.polygon(corners, fill=colour)
        for (x, y), half in zip(points, halves, strict=True):
            self.pen.ellipse(around(x, y, half, half), fill=colour)


def around(x: float, y: float, half_x: float, half_y: float) -> tuple[float, float, float, float]:
    """The box with this centre, as Pillow wants it."""
    return x - half_x, y - half_y, x + half_x, y + half_y


def between(start: Point, end: Point, share: float) -> Point:
    """The point at `share` (0 the start, 1 the end) of a line."""
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def shaded(colour: Colour, factor: float) -> Colour:
    """A darker shade; `factor` in 0..1."""
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)
