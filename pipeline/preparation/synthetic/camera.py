"""What a camera does to a picture: viewpoint, light, colour cast, sharpness.

At strength 1 a camera's properties are mild next to the differences between people. Above it cameras tint, blur and
crop ever more differently, each in a way of its own, and a camera's tint outweighs clothing: clusters form by camera,
as they do in a data set of many cameras. Pictures are (H, W, 3) float32 in 0..1 (sRGB values, not linear light).
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Camera:
    """What all pictures of one camera have in common."""

    turn: float  # the direction that people mostly walk in, radians: 0 towards the camera, pi away from it
    gain: float
    gamma: float
    cast: tuple[float, float, float]  # factor a channel
    saturation: float
    haze: float  # lifts the blacks
    blur: float  # standard deviation in pixels, at 128 pixels of height
    scale: float  # of the person in the frame
    resolution: float  # share of the pixels in a row that carry information
    noise: float
    quality: int  # of the JPEG files


def random_camera(rng: np.random.Generator, *, strength: float) -> Camera:
    """Draws a camera; `strength` 0 makes all cameras' colours alike, 1 is the default.

    Args:
        rng: its state decides.
        strength: factor on the differences in light and colour between cameras; above 1, also on those in sharpness
            and in how closely the person is cropped.
    """
    cast = 1 + strength * np.clip(rng.normal(0, 0.03, 3), -0.06, 0.06)
    camera = Camera(
        turn=float(rng.uniform(-np.pi, np.pi)),
        gain=float(1 + strength * rng.uniform(-0.12, 0.12)),
        gamma=float(1 + strength * rng.uniform(-0.1, 0.1)),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        saturation=float(1 + strength * rng.uniform(-0.15, 0.1)),
        haze=float(strength * rng.uniform(0, 0.04)),
        blur=float(rng.uniform(0.2, 0.9)),
        scale=float(rng.uniform(0.93, 1.03)),
        resolution=float(rng.uniform(0.55, 1.0)),
        noise=float(rng.uniform(0.008, 0.02)),
        quality=int(rng.integers(70, 93)),
    )
    if strength <= 1:
        return camera
    zoom = (strength - 1) * rng.uniform(-0.07, 0.07)
    return replace(camera, blur=camera.blur * strength, scale=camera.scale + float(zoom))


def expose(picture: np.ndarray, camera: Camera, rng: np.random.Generator, *, strength: float) -> np.ndarray:
    """Develops a drawn picture as `camera` would: light, colour, blur, resolution, noise.

    The light also varies from picture to picture (clouds, shade): about as much as between cameras of strength 1, and
    not more where these differ more.

    Args:
        picture: (H, W, 3) float32 in 0..1.
        camera: whose picture it is.
        rng: this picture's own randomness.
        strength: as in `random_camera`.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = picture.shape[:2]
    strength = min(strength, 1.0)
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * np.float32(camera.saturation)
    gain = camera.gain * (1 + strength * rng.uniform(-0.1, 0.1))
    cast = np.array(camera.cast) * (1 + strength * rng.normal(0, 0.012, 3))
    picture = np.clip(picture, 0, 1) ** np.float32(camera.gamma) * (gain * cast).astype(np.float32)
    picture = camera.haze + (1 - camera.haze) * picture
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    share = camera.resolution * rng.uniform(0.8, 1.0)
    if share < 0.9:
        small = (max(8, round(width * share)), max(16, round(height * share)))
        image = image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.5, 1.3) * height / 128))
    noisy = np.asarray(image, dtype=np.float32)
    noisy = noisy + rng.standard_normal(noisy.shape, dtype=np.float32) * np.float32(camera.noise * 255)
    return np.clip(noisy, 0, 255).astype(np.uint8)
