"""In which precision a network computes, and that nothing else does."""

import pytest
import torch

from pipeline.common.precision import PRECISIONS, Precision, default_precision
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


def test_precision_of_tensor_cores_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="precision tf32 needs an NVIDIA GPU"):
        Precision("tf32", CPU)


def test_precision_is_one_that_there_is() -> None:
    with pytest.raises(ValueError, match="precision must be one of fp32, tf32, bf16, fp16, got 'half'"):
        Precision("half", CPU)


def test_default_precision_of_a_cpu_is_fp32() -> None:
    assert default_precision(CPU) == "fp32"


def test_default_precision_of_a_gpu_is_bf16_where_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_it, name in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has_it=has_it: has_it)
        assert default_precision(torch.device("cuda", 0)) == name
