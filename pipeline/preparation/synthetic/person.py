"""Draws one person: legs, torso with its garment's pattern, arms, head and bag, seen from any side.

Coordinates are those of `body`.
"""

import numpy as np
from PIL import Image, ImageDraw

from pipeline.preparation.synthetic.body import Body, Point, around, between, shaded

SHOULDER, WAIST, HIP, KNEE, ANKLE = 0.19, 0.42, 0.49, 0.72, 0.95  # how far down


class Figure(Body):
    """One person on a transparent layer."""

    def draw(self) -> Image.Image:
        """Draws everything, far to near, and returns the layer (RGBA)."""
        from_front = self.cos > 0
        far, near = (1, -1) if self.sin > 0 else (-1, 1)
        self._leg(far, shade=0.82)
        self._arm(far, shade=0.85)
        self._leg(near, shade=1.0)
        if self.who.lower_cut == "skirt":
            self._skirt()
        if from_front and self.who.bag == "backpack":
            self._backpack()
        if from_front and self.who.hair_cut == "long":
            self._long_hair()
        self._torso()
        if from_front and self.who.bag == "backpack":
            self._straps()
        self._head()
        if not from_front and self.who.hair_cut == "long":
            self._long_hair()
        if not from_front and self.who.bag == "backpack":
            self._backpack()
        self._arm(near, shade=1.0)
        if self.who.bag == "shoulder":
            self._shoulder_bag()
        return self.layer

    def _leg(self, side: int, *, shade: float) -> None:
        who, ahead = self.who, self.pose.stride * side
        hip = self.at(side * 0.045 * who.breadth, HIP)
        knee = self.at(side * 0.05, KNEE, 0.065 * ahead + 0.015)
        # The leg that is behind lifts its heel.
        ankle = self.at(side * 0.05, ANKLE - 0.05 * max(0.0, -ahead), 0.13 * ahead)
        thick = 0.085 * (0.5 + 0.5 * who.breadth)
        cloth, skin = shaded(who.lower, shade), shaded(who.skin, shade)
        if who.lower_cut == "trousers":
            self.limb([hip, knee, ankle], [thick * 1.1, thick * 0.85, thick * 0.62], cloth)
            if who.side_stripe:
                offset = side * 0.025 * self.cos * self.tall
                seam = [(x + offset, y) for x, y in (hip, knee, ankle)]
                self.pen.line(seam, fill=shaded(who.upper_second, shade), width=self.pixels(0.014))
        else:
            self.limb([hip, knee, ankle], [thick, thick * 0.62, thick * 0.4], skin)
            if who.lower_cut == "shorts":
                end = between(hip, knee, min(1.0, (who.lower_length - HIP) / (KNEE - HIP)))
                self.limb([hip, end], [thick * 1.15, thick * 1.1], cloth)
        heel = (ankle[0], ankle[1] + 0.02 * self.tall)
        toe = (ankle[0] + 0.05 * self.sin * self.tall, ankle[1] + 0.03 * self.tall)
        self.limb([heel, toe], [0.045, 0.035], shaded(who.shoes, shade))

    def _skirt(self) -> None:
        waist, seam = self.half_width(0.085, 0.07), self.half_width(0.13, 0.11)
        top, bottom = WAIST, self.who.lower_length
        corners = ((-waist, top), (waist, top), (seam, bottom), (-seam, bottom))
        self.pen.polygon([self.flat(x, down) for x, down in corners], fill=self.who.lower)

    def _torso(self) -> None:
        who = self.who
        shoulder, waist, hem = (self.half_width(*pair) for pair in ((0.115, 0.07), (0.09, 0.068), (0.1, 0.075)))
        right = ((0.35 * shoulder, 0.155), (shoulder, SHOULDER + 0.005), (waist, WAIST - 0.03), (hem, who.hem))
        outline = [*right, *((-x, down) for x, down in reversed(right))]
        mask = Image.new("L", self.layer.size)
        ImageDraw.Draw(mask).polygon([self.flat(x, down) for x, down in outline], fill=255)
        cloth = Image.new("RGBA", self.layer.size, who.upper)
        self._pattern(ImageDraw.Draw(cloth))
        self.layer.paste(cloth, (0, 0), mask)
        if who.open_front and self.cos > 0.25:
            gap = 0.03 * self.cos
            self.pen.polygon(self.band(-gap, gap, 0.155, who.hem), fill=who.upper_second)
        if self.cos > 0.3 or (who.logo_on_back and self.cos < -0.3):
            self._logo()

    def _pattern(self, pen: ImageDraw.ImageDraw) -> None:
        """Paints the upper garment's pattern; the torso cuts it out."""
        pattern, step, hem = self.who.pattern, self.who.period, self.who.hem
        second, reach = self.who.upper_second, 0.25
        if pattern in ("rings", "checks"):
            for down in np.arange(0.15, hem, step):
                pen.polygon(self.band(-reach, reach, down, down + step * 0.45), fill=second)
        if pattern in ("bars", "checks"):
            for x in np.arange(-4 * step, 4 * step, step):
                pen.polygon(self.band(x, x + step * 0.35, 0.1, hem), fill=second)
        if pattern == "block":
            pen.polygon(self.band(-reach, reach, 0.15 + 3 * step, hem + 0.1), fill=second)
        if pattern == "dots":
            radius = step * 0.2 * self.tall
            for row, down in enumerate(np.arange(0.16, hem, step * 0.7)):
                for x in np.arange(-4 * step, 4 * step, step) + (row % 2) * step / 2:
                    pen.ellipse(around(*self.flat(x, down), radius, radius), fill=second)

    def _logo(self) -> None:
        logo, colour, half = self.who.logo, self.who.logo_colour, self.who.logo_size * self.tall
        squeezed = half * abs(self.cos)
        x, y = self.at(0, 0.27)
        if logo == "disc":
            self.pen.ellipse(around(x, y, squeezed, half), fill=colour)
        elif logo == "square":
            self.pen.rectangle(around(x, y, squeezed, half), fill=colour)
        elif logo == "line":
            self.pen.rectangle(around(x, y, 2 * squeezed, half / 2), fill=colour)
        elif logo == "triangle":
            self.pen.polygon([(x, y - half), (x + squeezed, y + half), (x - squeezed, y + half)], fill=colour)

    def _arm(self, side: int, *, shade: float) -> None:
        who, bend = self.who, self.pose.bend
        reach = -0.1 * self.pose.swing * side  # against the leg of the same side
        shoulder = self.at(side * 0.105 * who.breadth, SHOULDER + 0.02)
        elbow = self.at(side * 0.135 * who.breadth, 0.34, reach * 0.5 - 0.01)
        hand = self.at(side * 0.13 * who.breadth, 0.47 - 0.1 * bend, reach + 0.1 * bend)
        if who.bag == "hand" and side == who.bag_side:
            self._hand_bag(hand)
        cloth = shaded(who.sleeve_colour, shade)
        self.limb([shoulder, elbow, hand], [0.05, 0.042, 0.034], shaded(who.skin, shade))
        if who.sleeves == "long":
            self.limb([shoulder, elbow, between(elbow, hand, 0.85)], [0.066, 0.058, 0.05], cloth)
        elif who.sleeves == "short":
            self.limb([shoulder, between(shoulder, elbow, 0.75)], [0.066, 0.066], cloth)

    def _head(self) -> None:
        who, tall, cut = self.who, self.tall, self.who.hair_cut
        self.limb([self.at(0, 0.1), self.at(0, 0.17)], [0.05, 0.055], shaded(who.skin, 0.9))
        (x, y), half_y = self.at(0, 0.08, 0.01), 0.075 * tall
        half_x = float(np.hypot(0.055 * self.cos, 0.065 * self.sin)) * tall
        if cut == "bun":
            self.pen.ellipse(around(*self.at(0, 0.03, -0.06), 0.032 * tall, 0.032 * tall), fill=who.hair)
        self.pen.ellipse(around(x, y, half_x, half_y), fill=who.skin if cut == "bald" else who.hair)
        sees_face = self.cos > -0.5
        if sees_face and cut != "bald":
            # The face looks ahead: it moves sideways and narrows as the head turns.
            face_x, face_y = x + 0.03 * self.sin * tall, y + 0.019 * tall
            wide = half_x * (0.5 + 0.38 * max(0.0, self.cos))
            self.pen.ellipse(around(face_x, face_y, wide, half_y * 0.73), fill=who.skin)
        if cut == "cap":
            crown = around(x, y - 0.015 * tall, half_x, half_y - 0.005 * tall)
            self.pen.pieslice(crown, 180, 360, fill=who.cap)
            if sees_face:
                peak = around(x + 0.07 * self.sin * tall, y - 0.014 * tall, 0.05 * tall, 0.012 * tall)
                self.pen.ellipse(peak, fill=shaded(who.cap, 0.75))

    def _long_hair(self) -> None:
        x, y = self.at(0, 0.155, -0.02)
        box = around(x, y, 0.062 * self.tall, 0.075 * self.tall)
        self.pen.rounded_rectangle(box, 0.03 * self.tall, fill=self.who.hair)

    def _backpack(self) -> None:
        size, colour = self.who.bag_size * self.tall, self.who.bag_colour
        x, y = self.at(0, SHOULDER, -0.09)
        half = float(np.hypot(0.085 * self.cos, 0.05 * self.sin)) * size
        self.pen.rounded_rectangle((x - half, y, x + half, y + 0.22 * size), 0.03 * self.tall, fill=colour)
        if self.cos <= 0:
            pocket = around(x, y + 0.16 * size, half * 0.65, 0.04 * size)
            self.pen.rounded_rectangle(pocket, 0.015 * self.tall, fill=shaded(colour, 0.75))

    def _straps(self) -> None:
        for side in (-1, 1):
            line = [self.at(side * 0.06, 0.165, 0.03), self.at(side * 0.075, 0.34, 0.06)]
            self.pen.line(line, fill=self.who.bag_colour, width=self.pixels(0.025))

    def _shoulder_bag(self) -> None:
        side, size, colour = self.who.bag_side, self.who.bag_size * self.tall, self.who.bag_colour
        x, y = self.at(side * 0.12 * self.who.breadth, 0.46)
        self.pen.line([self.at(-side * 0.07, 0.17), (x, y)], fill=shaded(colour, 0.8), width=self.pixels(0.018))
        if -side * self.sin > -0.75:  # else the body hides it
            half = (0.035 + 0.03 * abs(self.sin)) * size
            self.pen.rounded_rectangle((x - half, y, x + half, y + 0.12 * size), 0.01 * self.tall, fill=colour)

    def _hand_bag(self, hand: Point) -> None:
        size, colour = self.who.bag_size * self.tall, self.who.bag_colour
        half, (x, top) = (0.03 + 0.035 * abs(self.sin)) * size, (hand[0], hand[1] + 0.04 * self.tall)
        self.pen.line([hand, (x, top)], fill=colour, width=self.pixels(0.012))
        self.pen.rectangle((x - half, top, x + half, top + 0.13 * size), fill=colour)
