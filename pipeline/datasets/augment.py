"""Random views of a whole batch at once, on the device where the batch lies.

A view: flip, pad with black, crop back to size at a random place, normalise by ImageNet's statistics, erase a random
rectangle (Zhong et al., AAAI 2020), which is filled with the raw ImageNet means *after* normalising, as is the custom
in re-ID. Random parameters are drawn first, for the global batch on the CPU, so the views are the same however the
batch is spread over processes and devices. Applying them is not random, and all devices agree bit for bit.

Legend: B images, H x W pixels.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from pipeline.common.imagenet import IMAGENET_MEAN, IMAGENET_STD
from pipeline.common.kernels import compiled

ERASE_AREA = (0.02, 0.4)
ERASE_ASPECT = (0.3, 1 / 0.3)
ERASE_ATTEMPTS = 100
# (byte / 255 - mean) / std = byte * scale + offset; each step rounded to float32, on every device alike.
_SCALE = (1 / (255 * np.array(IMAGENET_STD))).astype(np.float32)
_OFFSET = (-np.array(IMAGENET_MEAN) / np.array(IMAGENET_STD)).astype(np.float32)
_FILL = np.array(IMAGENET_MEAN, dtype=np.float32)


@dataclass(frozen=True)
class ViewParameters:
    """The random parameters of one view of each of B images. Rows can be taken by index, slice or mask.

    Attributes:
        flip: (B,) bool, mirror left and right.
        shift: (B, 2) int64, (down, right) position of the crop relative to the flipped image, in [-pad, pad].
        erase: (B, 4) int64, (top, left, height, width) of the rectangle; height 0 where nothing is erased.
    """

    flip: torch.Tensor
    shift: torch.Tensor
    erase: torch.Tensor

    def __len__(self) -> int:
        return len(self.flip)

    def __getitem__(self, rows: slice | torch.Tensor | np.ndarray | list[int]) -> "ViewParameters":
        return ViewParameters(self.flip[rows], self.shift[rows], self.erase[rows])

    def to(self, device: torch.device | str) -> "ViewParameters":
        return ViewParameters(self.flip.to(device), self.shift.to(device), self.erase.to(device))

    def packed(self) -> torch.Tensor:
        """(B, 7) int64: all of it as one tensor, to be sent at once."""
        return torch.cat([self.flip[:, None].to(torch.int64), self.shift, self.erase], dim=1)

    @classmethod
    def unpacked(cls, packed: torch.Tensor) -> "ViewParameters":
        """What `packed` gave."""
        return cls(packed[:, 0].bool(), packed[:, 1:3], packed[:, 3:])


def draw_views(
    batch: int, *, height: int, width: int, pad: int, flip: float, erase: float, generator: np.random.Generator
) -> ViewParameters:
    """Draws the parameters of one view of each of `batch` images.

    Args:
        batch: B, the global batch.
        height: H.
        width: W.
        pad: black pixels added on every side before cropping.
        flip: probability of mirroring.
        erase: probability of erasing.
        generator: of this view of this global batch; seeded by experiment, step and view, it gives the same views on
            any number of processes.

    Returns:
        ViewParameters on the CPU.
    """
    flips = generator.random(batch) < flip
    shifts = generator.integers(-pad, pad + 1, size=(batch, 2))
    boxes = _draw_boxes(batch, height, width, generator)
    boxes[generator.random(batch) >= erase] = 0
    return ViewParameters(torch.from_numpy(flips), torch.from_numpy(shifts), torch.from_numpy(boxes))


def apply_views(images: torch.Tensor, parameters: ViewParameters) -> torch.Tensor:
    """Returns the views that `parameters` describe.

    Args:
        images: (B, H, W, 3) uint8, on any device.
        parameters: of length B.

    Returns:
        (B, 3, H, W) float32 on the device of `images`, contiguous.
    """
    assert images.dtype == torch.uint8 and images.ndim == 4 and images.shape[3] == 3
    assert len(parameters) == len(images)
    if images.device.type == "cpu":
        return _apply_on_cpu(images, parameters.to("cpu"))
    return _apply_on_device(images, parameters.to(images.device))


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Returns test images: (B, H, W, 3) uint8 -> (B, 3, H, W) float32, normalised by ImageNet's statistics.

    On a GPU channels stay side by side in memory.
    """
    if images.device.type != "cpu":
        return _normalise_on_device(images)
    batch = len(images)
    unchanged = ViewParameters(
        torch.zeros(batch, dtype=torch.bool),
        torch.zeros((batch, 2), dtype=torch.int64),
        torch.zeros((batch, 4), dtype=torch.int64),
    )
    return apply_views(images, unchanged)


def _normalise_on_device(images: torch.Tensor) -> torch.Tensor:
    scale, offset, _ = _constants(images.device)
    return images.permute(0, 3, 1, 2).to(torch.float32).mul_(scale).add_(offset)


def _draw_boxes(batch: int, height: int, width: int, generator: np.random.Generator) -> np.ndarray:
    """(B, 4) rectangles: the first of 100 attempts that is smaller than the image both ways, else height 0."""
    area = generator.uniform(*ERASE_AREA, size=(batch, ERASE_ATTEMPTS)) * (height * width)
    aspect = generator.uniform(*ERASE_ASPECT, size=(batch, ERASE_ATTEMPTS))
    heights = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    widths = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (heights < height) & (widths < width)
    first = (np.arange(batch), fits.argmax(axis=1))
    h, w = heights[first], widths[first]
    top = generator.integers(np.maximum(height - h, 0) + 1)
    left = generator.integers(np.maximum(width - w, 0) + 1)
    return np.stack([top, left, h, w], axis=1) * fits.any(axis=1, keepdims=True)


def _apply_on_cpu(images: torch.Tensor, parameters: ViewParameters) -> torch.Tensor:
    """One pass over the output, spread over torch's number of threads by blocks of images."""
    batch, height, width, _ = images.shape
    rows = images.contiguous().numpy().reshape(batch, height, 3 * width)
    arrays = (rows, parameters.flip.numpy(), parameters.shift.numpy(), parameters.erase.numpy())
    # NumPy asks for huge pages, torch does not by default: the first touch of new memory is what costs most here.
    out = np.empty((batch, 3, height, width), dtype=np.float32)
    block = max(1, math.ceil(batch / torch.get_num_threads()))
    pieces = [slice(start, start + block) for start in range(0, batch, block)]

    def run(piece: slice) -> None:
        _views_kernel(*(array[piece] for array in arrays), _SCALE, _OFFSET, _FILL, out[piece])

    if len(pieces) > 1:
        with ThreadPoolExecutor(len(pieces)) as pool:
            list(pool.map(run, pieces))
    elif pieces:
        run(pieces[0])
    return torch.from_numpy(out)


@compiled
def _views_kernel(rows, flip, shift, erase, scale, offset, fill, out):  # type: ignore[no-untyped-def]
    """Writes `out` (B, 3, H, W) from `rows` (B, H, 3 W)."""
    batch, _, height, width = out.shape
    for b in range(batch):
        down, right = shift[b, 0], shift[b, 1]
        # Columns [start, stop) of the crop lie on the image, the others on the padding; on the image they begin at
        # `first`, seen from the left if it is not mirrored.
        start = min(max(-right, 0), width)
        stop = max(min(width - right, width), start)
        first = width - (stop + right) if flip[b] else start + right
        for y in range(height):
            if not 0 <= y + down < height:
                for c in range(3):
                    out[b, c, y, :] = offset[c]  # a black pixel
                continue
            for c in range(3):
                out[b, c, y, :start] = offset[c]
                out[b, c, y, stop:] = offset[c]
            row = rows[b, y + down, 3 * first : 3 * (first + stop - start)]
            red, green, blue = out[b, 0, y, start:stop], out[b, 1, y, start:stop], out[b, 2, y, start:stop]
            if flip[b]:
                _normalise_mirrored(row, scale, offset, red, green, blue)
            else:
                _normalise(row, scale, offset, red, green, blue)
        top, left, bottom, end = erase[b, 0], erase[b, 1], erase[b, 0] + erase[b, 2], erase[b, 1] + erase[b, 3]
        for c in range(3):
            out[b, c, top:bottom, left:end] = fill[c]


# The two loops become vector code: scale and offset are read before them, as the compiler cannot know that they do not
# overlap with what is written; unsigned indices need no test for counting from the end.


@compiled
def _normalise(row, scale, offset, red, green, blue):  # type: ignore[no-untyped-def]
    """(3 n,) bytes, colours alternating -> three times (n,) float32."""
    red_scale, green_scale, blue_scale = scale[0], scale[1], scale[2]
    red_offset, green_offset, blue_offset = offset[0], offset[1], offset[2]
    for x in range(len(red)):
        pixel = np.uint64(3 * x)
        red[x] = np.float32(row[pixel]) * red_scale + red_offset
        green[x] = np.float32(row[pixel + np.uint64(1)]) * green_scale + green_offset
        blue[x] = np.float32(row[pixel + np.uint64(2)]) * blue_scale + blue_offset


@compiled
def _normalise_mirrored(row, scale, offset, red, green, blue):  # type: ignore[no-untyped-def]
    """The same from right to left."""
    red_scale, green_scale, blue_scale = scale[0], scale[1], scale[2]
    red_offset, green_offset, blue_offset = offset[0], offset[1], offset[2]
    width = len(red)
    for x in range(width):
        pixel = np.uint64(3 * (width - 1 - x))
        red[x] = np.float32(row[pixel]) * red_scale + red_offset
        green[x] = np.float32(row[pixel + np.uint64(1)]) * green_scale + green_offset
        blue[x] = np.float32(row[pixel + np.uint64(2)]) * blue_scale + blue_offset


@cache
def _constants(device: torch.device) -> tuple[torch.Tensor, ...]:
    """Scale, offset and fill, (3, 1, 1) each, which travel to a device once."""
    return tuple(torch.from_numpy(values).to(device)[:, None, None] for values in (_SCALE, _OFFSET, _FILL))


def _apply_on_device(images: torch.Tensor, parameters: ViewParameters) -> torch.Tensor:
    """The same by a gather and masks, for accelerators."""
    batch, height, width, _ = images.shape
    device = images.device
    y = torch.arange(height, device=device)[None]  # (1, H)
    x = torch.arange(width, device=device)[None]  # (1, W)
    source_y, source_x = y + parameters.shift[:, :1], x + parameters.shift[:, 1:]  # (B, H), (B, W)
    inside_y = (source_y >= 0) & (source_y < height)
    inside_x = (source_x >= 0) & (source_x < width)
    source_x = torch.where(parameters.flip[:, None], width - 1 - source_x, source_x)
    batch_index = torch.arange(batch, device=device)[:, None, None]
    source = (batch_index, source_y.clamp(0, height - 1)[:, :, None], source_x.clamp(0, width - 1)[:, None, :])
    pixels = images[source] * (inside_y[:, :, None] & inside_x[:, None, :])[..., None]  # (B, H, W, 3), black outside

    scale, offset, fill = _constants(device)
    views = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)  # (B, 3, H, W)
    views = views.mul_(scale).add_(offset)
    top, left, box_height, box_width = parameters.erase[:, :, None].unbind(1)  # (B, 1) each
    erased_y = (y >= top) & (y < top + box_height)
    erased_x = (x >= left) & (x < left + box_width)
    erased = (erased_y[:, :, None] & erased_x[:, None, :])[:, None]  # (B, 1, H, W)
    return torch.where(erased, fill, views)
