"""A training on a real GPU: as on a CPU where rounding is no excuse, the same bits every time, never waited for."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.clustering import nearest_neighbours
from pipeline.common.errors import UserError
from pipeline.common.precision import Precision
from pipeline.common.seeding import seed_everything
from pipeline.config.schema import TrainingSettings
from pipeline.model import build
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.model.embedding import embed
from pipeline.training.distributed import Processes
from pipeline.training.interruption import InterruptedTrainingError
from pipeline.training.trainer import Trainer
from tests.training.small import change

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
METHODS = ("dccc", "dccc_cam", "cluster_contrast", "spcl")


@pytest.fixture
def small(small: TrainingSettings) -> TrainingSettings:
    """With neighbours for the distance that knows cameras."""
    return change(small, clustering__k_intra=2, clustering__k_inter=6)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leaves the other tests what they expect of torch."""
    yield
    torch.use_deterministic_algorithms(False)


def make(
    crowd: Any, settings: TrainingSettings, device: torch.device, dtype: torch.dtype = torch.float32, **other: Any
) -> Trainer:
    seed_everything(settings.seed)
    student = build("resnet10_w32", bn_group=8).to(device, dtype)
    teacher = copy.deepcopy(student) if settings.has_teacher else None
    data = {"images": crowd.images, "cameras": crowd.cameras, "processes": Processes(device=device), **other}
    return Trainer(student, teacher, settings=settings, shown=False, **data)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in trainer.student.state_dict().items()}


def trained(trainer: Trainer) -> tuple[list[float], list[list[int]], dict[str, torch.Tensor]]:
    results = list(trainer.run())
    return [r.loss for r in results], [r.labels.tolist() for r in results], weights(trainer)


@pytest.mark.parametrize("method", METHODS)
def test_gpu_computes_what_a_cpu_computes(crowd: Any, small: TrainingSettings, method: str) -> None:
    """In double precision: rounding is far below what any mistake would be."""
    settings = change(small, method=method)
    start = weights(make(crowd, settings, CPU, torch.float64))
    losses, labels, there = trained(make(crowd, settings, GPU, torch.float64))
    expected, same, here = trained(make(crowd, settings, CPU, torch.float64))
    assert labels == same
    # Embeddings are clustered, and centroids kept, in single precision: one rounding, which Adam, where a gradient is
    # nearly zero, makes a difference between two steps.
    assert losses == pytest.approx(expected, rel=1e-6)
    names = [name for name in start if not name.endswith("num_batches_tracked")]
    difference, moved = (
        torch.cat([(one[name] - here[name]).reshape(-1) for name in names]).norm() for one in (there, start)
    )
    assert difference < 1e-3 * moved


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_gpu_gives_the_same_bits_twice_and_after_an_interruption(
    crowd: Any, small: TrainingSettings, tmp_path: Path, method: str, precision: str
) -> None:
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU does not compute in bf16")
    settings = change(small, method=method, train__precision=precision)
    first, second = trained(make(crowd, settings, GPU)), trained(make(crowd, settings, GPU))
    assert first[:2] == second[:2] and all(first[2][name].equal(second[2][name]) for name in first[2])

    half = make(crowd, settings, GPU)

    def stop() -> None:
        if half.step == 4:  # in the second epoch
            save_checkpoint(tmp_path / "checkpoint.pt", half.state_dict())
            raise InterruptedTrainingError

    with pytest.raises(InterruptedTrainingError):
        list(half.run(stop))
    resumed = make(crowd, settings, GPU)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    assert [r.labels.tolist() for r in resumed.run()] == first[1][1:]
    assert all(first[2][name].equal(value) for name, value in weights(resumed).items())


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_recorded_passes_give_the_same_bits(crowd: Any, small: TrainingSettings, method: str, precision: str) -> None:
    settings = change(small, method=method, train__precision=precision)
    replayed, launched = (trained(make(crowd, settings, GPU, recorded=recorded)) for recorded in (True, False))
    assert replayed[:2] == launched[:2] and all(replayed[2][name].equal(launched[2][name]) for name in launched[2])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # of torch 2.11's own making
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_compiled_training_gives_the_same_bits_wherever_it_is_compiled(
    crowd: Any, small: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    settings = change(small, train__precision=precision)
    plain = trained(make(crowd, settings, GPU))
    found = []
    for place in ("here", "there"):  # with nothing kept from the first
        torch._dynamo.reset()
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / place))
        found.append(trained(make(crowd, change(settings, train__compile=True), GPU)))
        assert list((tmp_path / place).rglob("*.py")), "nothing was compiled"
    first, second = found
    assert first[:2] == second[:2] and all(first[2][name].equal(second[2][name]) for name in first[2])
    assert first[0][0] == pytest.approx(plain[0][0], rel=0.02)


@pytest.mark.parametrize("backbone", ["resnet10_w32", "resnet50", "resnet_ibn50a"])
def test_extraction_is_that_of_the_network(crowd: Any, backbone: str) -> None:
    """Which is folded on a GPU."""
    seed_everything(1)
    network = build(backbone).eval()
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 2)
    expected = embed(network, crowd.images, device=CPU)
    with Precision("fp32", GPU).forward():
        found, again = (embed(network.to(GPU), crowd.images, device=GPU) for _ in range(2))
    assert torch.equal(found, again)
    assert float((found - expected).norm(dim=1).max()) < 1e-4


def test_network_that_cannot_be_recorded_is_one_line(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, small, GPU)
    trainer.student.backbone.register_forward_hook(lambda _, __, maps: (maps.sum().item(), maps)[1])
    with pytest.raises(UserError, match=r"^train\.cuda_graphs: this network cannot be recorded as a CUDA graph"):
        next(trainer.run())


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_step_does_not_wait_for_the_gpu(
    crowd: Any, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """But for the losses of the step before, which have their event."""
    trainer = make(crowd, change(small, method=method, epochs=1, train__iters=6), GPU)
    steps = []

    def strict() -> None:
        steps.append(trainer.step)
        torch.cuda.set_sync_debug_mode("error" if 2 <= len(steps) < 6 else "default")

    try:
        list(trainer.run(strict))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(steps) == 6


def test_neighbours_are_those_of_the_cpu() -> None:
    features = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
    features[1000:1100] = features[:100]  # ties
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_array_equal(
        nearest_neighbours(features, 20, device="cuda"), nearest_neighbours(features, 20, device="cpu")
    )


def test_half_precision_stays_near_the_exact_embeddings(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, small, GPU)
    exact = trainer.embed(trainer.student, crowd.images, "fp32")
    assert torch.equal(exact, trainer.embed(trainer.student, crowd.images, "again"))
    for name, worst in (("tf32", 2**-8), ("bf16", 2**-3), ("fp16", 2**-6)):
        rounded = trainer.embed(trainer.student, crowd.images, name, precision=Precision(name, GPU))
        assert float((rounded - exact).norm(dim=1).max()) < worst, name
