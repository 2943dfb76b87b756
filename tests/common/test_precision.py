"""In which precision a network computes, and that nothing else does."""

import pytest
import torch

from pipeline.common.precision import Precision, precision_on
from pipeline.common.precision_names import PRECISIONS
from pipeline.model import build

CPU = torch.device("cpu")
PRODUCTS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]


def embeddings(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    network = build("resnet10_w32").eval()
    images = torch.randn(4, 3, 32, 16)
    with torch.no_grad(), Precision(name, CPU).forward():
        found: torch.Tensor = network(images)
    return found


@pytest.mark.parametrize(("name", "tolerance"), [("bf16", 2e-2), ("fp16", 2e-3)])
def test_precision_rounds_the_network_and_gives_float32(name: str, tolerance: float) -> None:
    exact, rounded = embeddings("fp32"), embeddings(name)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < tolerance


def test_precision_fp32_is_what_torch_does_by_itself() -> None:
    torch.manual_seed(0)
    network = build("resnet10_w32").eval()
    with torch.no_grad():
        assert torch.equal(network(torch.randn(4, 3, 32, 16)), embeddings("fp32"))


def test_precision_fp32_is_exact_whatever_was_allowed_before() -> None:
    with Precision("bf16", CPU).products():
        with Precision("fp32", CPU).forward():
            assert [place.fp32_precision for place in PRODUCTS] == ["ieee", "ieee"]
        assert [place.fp32_precision for place in PRODUCTS] == ["tf32", "tf32"]


def test_precision_allows_tensor_cores_for_the_time_of_a_pass() -> None:
    before = [place.fp32_precision for place in PRODUCTS]
    with pytest.raises(KeyError), Precision("bf16", CPU).products():
        assert [place.fp32_precision for place in PRODUCTS] == ["tf32", "tf32"]
        raise KeyError
    assert [place.fp32_precision for place in PRODUCTS] == before


def test_precision_scales_gradients_for_fp16_alone() -> None:
    one = torch.ones(1)
    scaled = {name: Precision(name, CPU).scaler().scale(one).item() for name in PRECISIONS if name != "tf32"}
    assert scaled["fp16"] > 1 and scaled["fp32"] == scaled["bf16"] == 1


def test_precision_is_one_that_there_is() -> None:
    with pytest.raises(ValueError, match="precision must be one of fp32, tf32, bf16, fp16, got 'half'"):
        Precision("half", CPU)


@pytest.mark.parametrize(
    ("capability", "found"),
    [
        (None, {"auto": "fp32", "tf32": "fp32", "bf16": "bf16", "fp32": "fp32"}),
        ((7, 5), {"auto": "fp16", "tf32": "fp32", "fp16": "fp16"}),  # Turing imitates bf16
        ((8, 0), {"auto": "bf16", "tf32": "tf32", "fp32": "fp32"}),
        ((12, 0), {"auto": "bf16", "tf32": "tf32"}),
    ],
)
def test_precision_is_what_the_device_has(
    capability: tuple[int, int] | None, found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = CPU if capability is None else torch.device("cuda", 0)
    assert {wanted: precision_on(device, wanted) for wanted in found} == found
