"""Whether there is a GPU, and whether it can be used; with an old driver or an old card it is one line."""

import warnings

import pytest
import torch

from pipeline.common import device
from pipeline.common.device import choose_device, num_gpus
from pipeline.common.errors import UserError

BUILT = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_120", "compute_120"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two cards of sm_90 that work; the tests change what torch says of them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: BUILT)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    return monkeypatch


def test_gpus_are_counted_and_chosen(machine: pytest.MonkeyPatch) -> None:
    assert num_gpus() == 2 and choose_device(1) == torch.device("cuda", 1)


def test_machine_without_a_gpu_takes_the_cpu(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: False)
    machine.setattr(torch.cuda, "device_count", lambda: 0)
    assert num_gpus() == 0 and choose_device() == torch.device("cpu")


def test_driver_that_is_too_old_is_one_line_and_no_warning(machine: pytest.MonkeyPatch) -> None:
    def unavailable() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old", stacklevel=2)
        return False

    machine.setattr(torch.cuda, "is_available", unavailable)
    with pytest.raises(UserError) as caught:
        choose_device()
    assert str(caught.value) == (
        "this machine has 2 NVIDIA GPUs, whose driver is too old for this PyTorch (CUDA 13.2): install NVIDIA's driver "
        "580 or newer (nvidia-smi shows yours), or set CUDA_VISIBLE_DEVICES= (to nothing) to compute on the CPU"
    )


def test_driver_that_is_new_enough_is_not_blamed(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: False)
    machine.setattr(device, "_driver_cuda", lambda: 13020)
    with pytest.raises(UserError, match="2 NVIDIA GPUs, which CUDA cannot use, though the driver is new enough"):
        num_gpus()
    machine.setattr(device, "_driver_cuda", lambda: 12040)
    with pytest.raises(UserError, match="whose driver is too old"):
        num_gpus()


@pytest.mark.parametrize(
    ("capability", "works"),
    [
        ((7, 0), False),
        ((7, 5), True),
        ((8, 6), True),
        ((8, 9), True),
        ((9, 0), True),
        ((10, 0), False),
        ((12, 1), True),
    ],
)
def test_card_needs_code_in_the_wheel(machine: pytest.MonkeyPatch, capability: tuple[int, int], works: bool) -> None:
    machine.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    machine.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    if works:
        assert choose_device() == torch.device("cuda", 0)
        return
    with pytest.raises(UserError) as caught:
        choose_device()
    sm = f"sm_{capability[0]}{capability[1]}"
    assert str(caught.value).startswith(
        f"GPU 0, Tesla V100 ({sm}), is none that this PyTorch was built for (sm_75, sm_80, sm_86, sm_90a, sm_120): "
    )


def test_process_without_a_gpu_of_its_own(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="process 3 on this machine has no GPU of its own"):
        choose_device(2)
