"""Copies to and from a device; what a GPU does differently is in tests/training/test_on_a_gpu.py and tests/cuda/."""

from typing import Any

import torch

from pipeline.common.transfer import Arriving, copied, send

CPU = torch.device("cpu")


def test_copy_of_a_state_is_its_own() -> None:
    state: dict[str, Any] = {
        "step": 3,
        "networks": [{"w": torch.ones(2, 3).t()}, None],
        "rows": ({"loss": 0.5},),
        "of": torch.arange(3),
    }
    copy = copied(state)
    state["networks"][0]["w"].zero_()
    state["rows"][0]["loss"] = 9.0
    assert copy["networks"][0]["w"].equal(torch.ones(3, 2)) and copy["networks"][1] is None
    assert copy["step"] == 3 and copy["rows"] == ({"loss": 0.5},) and copy["of"].dtype == torch.int64


def test_copy_has_no_gradient() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    assert not copied([parameter])[0].requires_grad


def test_arriving_tensor_is_as_it_was_when_it_left() -> None:
    tensor = torch.ones(3)
    arriving = Arriving(tensor)
    tensor.zero_()
    assert arriving.wait().equal(torch.ones(3))


def test_send_to_where_it_is() -> None:
    tensor = torch.ones(3)
    assert send(tensor, CPU) is tensor
