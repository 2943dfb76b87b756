"""A small training on the stub, interrupted in its last epoch, resumed, and scored; kernels compute nothing."""

import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.clustering import candidates
from pipeline.common.seeding import seed_everything
from pipeline.config.schema import TrainingSettings
from pipeline.model import build
from pipeline.training import session, trainer
from pipeline.training.distributed import Processes
from pipeline.training.extraction import extract
from pipeline.training.interruption import InterruptedTrainingError
from pipeline.training.session import train_to_end
from pipeline.training.setup import remarks
from pipeline.training.trainer import Trainer
from tests.cuda.on_stub import replace_convolutions
from tests.training.small import small_settings

GPU = torch.device("cuda", 0)
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 16, 3), dtype=np.uint8)


def extracted(network: torch.nn.Module, images: np.ndarray, title: str, **options: object) -> torch.Tensor:
    """Calls the real one, and gives what can be clustered in place of what no kernel has computed."""
    extract(network, images, title, **options)
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((8, network.num_features))[np.arange(len(images)) % 8]
    rows += 0.1 * rng.standard_normal(rows.shape)
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def on_device(embeddings: torch.Tensor, width: int, *, groups: Any = None) -> candidates.Candidates:
    """Likewise."""
    candidates.on_device(embeddings, width, groups=groups)
    return candidates.by_tiles(embeddings.cpu().numpy(), width, groups=groups)


def make(settings: TrainingSettings) -> Trainer:
    seed_everything(1)
    student = build("resnet10_w32", bn_group=8).to(GPU)
    return Trainer(
        student,
        copy.deepcopy(student) if settings.has_teacher else None,
        images=IMAGES,
        cameras=np.arange(len(IMAGES)) % 4,
        settings=settings,
        processes=Processes(device=GPU),
        recorded=False,
        shown=False,
    )


def train(settings: TrainingSettings, folder: Path, stop_at: int | None = None) -> list[dict[str, float]]:
    """To the end, or to a step, after which the training is interrupted."""
    made = make(settings)
    for line in remarks(made, neighbours="approximate"):
        print(line)
    save = session._Session.save_now_and_then

    def save_or_stop(self: session._Session, seconds: float) -> None:
        save(self, seconds)
        if made.step == stop_at:
            raise InterruptedTrainingError

    setattr(session._Session, "save_now_and_then", save_or_stop)  # noqa: B010 - mypy allows no assignment
    try:
        return train_to_end(
            made,
            folder=folder,
            eval_step=1,
            checkpoint_minutes=0,
            settings=settings.as_dict(),
            score=lambda: {"student_mAP": float(made.embed(made.student, IMAGES[:20], "scores").sum())},
            record=lambda row: None,
            say=print,
        )
    finally:
        setattr(session._Session, "save_now_and_then", save)  # noqa: B010


def main(method: str, *precisions: str) -> None:
    epochs = 1 if method == "spcl" else 2  # its second one clusters the memory, which no kernel has moved
    for precision in precisions:
        settings = small_settings(
            method=method, train__precision=precision, epochs=epochs, clustering__k_intra=2, clustering__k_inter=6
        )
        with tempfile.TemporaryDirectory() as folder:
            try:
                train(settings, Path(folder), stop_at=3 * epochs - 1)
                raise AssertionError("it was not interrupted")
            except InterruptedTrainingError:
                rows = train(settings, Path(folder))
        assert len(rows) == epochs and "student_mAP" in rows[-1]
        print("trained", method, precision)


if __name__ == "__main__":
    replace_convolutions()
    setattr(trainer, "extract", extracted)  # noqa: B010
    with candidates.searched_by(on_device):
        main(*sys.argv[1:])
