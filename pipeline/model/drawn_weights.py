"""Starting weights from drawn people: what a data set of drawn people can start from, as photographs from ImageNet.

A backbone learns to tell some drawn people apart, whose identities are known. They are others than those of any
synthetic data set (`draw_images`), seen by cameras that are all alike: that cameras differ, and who is who in the data
set, the training has to find out by itself.

Source: Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", ACM MM 2017 (softmax over cosines).

B: images in a batch · D: width of the embedding · H, W: pixels.
"""

import hashlib
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.common.device import choose_device
from pipeline.common.files import replacing, sha256
from pipeline.common.progress import Progress
from pipeline.common.seeding import generator, same_bits_in_every_run
from pipeline.datasets.augment import apply_views, draw_views
from pipeline.model.batchnorm import commit_statistics_
from pipeline.model.embedding import layout_on
from pipeline.model.network import Network, build
from pipeline.preparation.synthetic import draw_images
from pipeline.preparation.synthetic_dataset import drawing_version

PEOPLE, IMAGES, CAMERAS = 200, 12, 6  # people, images of each, cameras
STEPS, BATCH = 250, 64
SEED = 1
LEARNING_RATE, WARM_UP, WEIGHT_DECAY = 1e-3, 20, 5e-4  # the rate falls to 0 by a cosine, after steps of warm-up
TEMPERATURE, SMOOTHING = 0.1, 0.1
PAD = 16  # the views are padded by this part of the height


def drawn_weights(backbone: str, folder: Path, *, size: tuple[int, int]) -> Path:
    """The file of weights that a backbone has learned from drawn people; learned unless it lies in `folder`.

    Its name says from what, and a digest of the code that draws and learns.

    Args:
        backbone: a name that `build` knows.
        folder: of such files.
        size: height and width of the images, in pixels; at least 16.

    Raises:
        UserError: images of this size cannot be drawn.
    """
    height, width = size
    code = sha256(Path(__file__)) + drawing_version()
    name = f"{backbone.replace('/', '-')}-{PEOPLE}-drawn-people-{height}x{width}"
    file = folder / f"{name}-{hashlib.sha256(code.encode()).hexdigest()[:8]}.safetensors"
    if not file.exists():
        with replacing(file) as temporary:
            learn_from_drawn_people(backbone, temporary, size=size)
    return file


def learn_from_drawn_people(
    backbone: str, file: Path, *, size: tuple[int, int], steps: int = STEPS, shown: bool = True
) -> None:
    """Writes a backbone's weights as safetensors; the same in each run on one machine.

    Args:
        backbone: a name that `build` knows.
        file: is written.
        size: height and width of the images, in pixels; at least 16.
        steps: of the training.
        shown: show progress.

    Raises:
        UserError: images of this size cannot be drawn.
    """
    height, width = size
    images, pids, _ = draw_images(
        seed=SEED,
        identities=PEOPLE,
        cameras=CAMERAS,
        images_per_identity=IMAGES,
        height=height,
        width=width,
        camera_strength=0,
        occlusion=0,
    )
    device = choose_device()
    with torch.random.fork_rng(), same_bits_in_every_run():
        torch.manual_seed(SEED)
        network = build(backbone, image_size=size).to(device).to(memory_format=layout_on(device))
        people = nn.Parameter(torch.randn(PEOPLE, network.num_features).to(device))
        with Progress(f"{backbone}, {PEOPLE} other drawn people", steps, shown=shown) as progress:
            _learn(network, people, images, pids, steps=steps, progress=progress)
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.backbone.state_dict().items()}
    safetensors.torch.save_file(weights, file, metadata={"learned_from": f"{PEOPLE} drawn people"})


def _learn(
    network: Network, people: nn.Parameter, images: np.ndarray, pids: np.ndarray, *, steps: int, progress: Progress
) -> None:
    """Cross-entropy over the cosines of embeddings (B, D) and one learned vector per person."""
    height, width = images.shape[1:3]
    rng, device = generator(SEED, "drawn people"), people.device
    trained = [*(p for p in network.parameters() if p.requires_grad), people]
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    network.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP) * (1 + np.cos(np.pi * step / steps)) / 2
        rows = rng.integers(0, len(images), BATCH)
        views = draw_views(BATCH, height=height, width=width, pad=height // PAD, flip=0.5, erase=0.5, generator=rng)
        pixels = apply_views(torch.from_numpy(images[rows]).to(device), views)
        cosines = network(pixels.contiguous(memory_format=layout_on(device))) @ F.normalize(people, dim=1).T
        targets = torch.from_numpy(pids[rows]).to(device)
        loss = F.cross_entropy(cosines / TEMPERATURE, targets, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        commit_statistics_(network)
        progress.advance(loss=f"{float(loss.detach()):.3f}")
