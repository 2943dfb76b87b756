"""One picture: a scene, a person in it, what stands in front, and what the camera makes of it.

Source: our own. Pictures are (H, W, 3) RGB.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.preparation.synthetic.body import Pose
from pipeline.preparation.synthetic.camera import Camera, expose
from pipeline.preparation.synthetic.identity import Identity
from pipeline.preparation.synthetic.person import Figure
from pipeline.preparation.synthetic.scene import draw_background, draw_occluder

SUPERSAMPLING = 2  # drawn twice as large and averaged down: soft edges


@dataclass(frozen=True)
class Style:
    """Size and difficulty of all pictures of a set; `write_synthetic` explains the factors."""

    height: int
    width: int
    camera_strength: float
    misalignment: float
    occlusion: float


def draw_person(
    identity: Identity, camera: Camera, rng: np.random.Generator, style: Style, *, spoilt: bool = False
) -> Image.Image:
    """Draws one picture of a person.

    Args:
        identity: who.
        camera: seen by which camera.
        rng: this picture's own randomness: scene, pose, light, noise.
        style: size and difficulty.
        spoilt: a detector's mistake: a good part of the person is outside of the picture.

    Returns:
        An RGB image of (style.width, style.height).
    """
    size = (style.width * SUPERSAMPLING, style.height * SUPERSAMPLING)
    scene = draw_background(size, rng)
    pose = _random_pose(size, camera, rng, style.misalignment, spoilt=spoilt)
    layer = Figure(size, identity, pose).draw()
    scene.paste(_lit(layer, rng), (0, 0), layer.getchannel("A"))
    if rng.random() < style.occlusion:
        draw_occluder(scene, rng)
    picture = np.asarray(scene.reduce(SUPERSAMPLING), dtype=np.float32) / 255
    return Image.fromarray(expose(picture, camera, rng, strength=style.camera_strength))


def _random_pose(
    size: tuple[int, int], camera: Camera, rng: np.random.Generator, misalignment: float, *, spoilt: bool
) -> Pose:
    width, height = size
    # Most people walk the way that the camera looks at, some the other way.
    turn = camera.turn + rng.normal(0, 0.5) + (np.pi if rng.random() < 0.25 else 0.0)
    share = camera.scale * (0.93 + misalignment * rng.uniform(-0.06, 0.05))
    off_x, off_y = misalignment * rng.normal(0, [0.045, 0.02])
    if spoilt:
        off_x, off_y = rng.choice([-1, 1], 2) * rng.uniform([0.3, 0.2], [0.5, 0.5])
    return Pose(
        centre=float(width * (0.5 + off_x)),
        top=float(height * (0.5 - share / 2 + off_y)),
        tall=float(height * share),
        turn=float(turn),
        stride=float(rng.uniform(-1, 1)),
        swing=float(rng.uniform(-1, 1)),
        bend=float(rng.choice([0.0, rng.uniform(0, 1)])),
        lean=float(rng.normal(0, 0.02)),
    )


def _lit(layer: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light from one side, and folds: the person's colours times a smooth random field."""
    folds = rng.normal(1.0, 0.1, (9, 5))
    folds += rng.uniform(-0.22, 0.22) * np.linspace(-1, 1, 5)
    folds += rng.uniform(-0.1, 0.1) * np.linspace(-1, 1, 9)[:, None]
    field = Image.fromarray(folds.astype(np.float32)).resize(layer.size, Image.Resampling.BICUBIC)
    colours = np.asarray(layer)[:, :, :3] * np.asarray(field)[:, :, None]
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
