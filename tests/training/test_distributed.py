"""What the processes share: rows, gradients, sums, and the first one's mistakes."""

import json
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.clustering import nearest_neighbours
from pipeline.common.errors import UserError
from pipeline.training import distributed
from pipeline.training.distributed import joining
from tests.training.gloo import in_processes


def test_default_processes_is_one_per_gpu_as_far_as_the_batch_can_be_shared() -> None:
    assert [distributed.default_processes(4, gpus=gpus) for gpus in (0, 1, 2, 3, 4, 8)] == [1, 1, 2, 2, 4, 4]
    assert distributed.default_processes(1, gpus=8) == 1


def test_one_process_gathers_and_sums_nothing() -> None:
    alone = distributed.Processes()
    rows = torch.randn(4, 2, requires_grad=True)
    assert alone.gather(rows) is rows
    assert alone.share(6) == slice(0, 6)
    assert alone.from_first("x") == "x"
    total = torch.ones(3)
    alone.sum_([total])
    assert total.tolist() == [1, 1, 1]


def test_share_is_in_rank_order() -> None:
    shares = [distributed.Processes(rank=rank, size=4).share(8) for rank in range(4)]
    assert [list(range(8))[share] for share in shares] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def share_and_sum(processes: distributed.Processes) -> Any:
    whole = torch.arange(8.0).reshape(4, 2).requires_grad_()
    mine = whole[processes.share(4)]
    (processes.gather(mine) ** 2).sum().backward()
    assert whole.grad is not None
    gradient, other = whole.grad.clone(), torch.ones(2, dtype=torch.float64) * processes.rank
    processes.sum_([gradient, other])
    told = processes.from_first(np.arange(3) if processes.first else None)
    return processes.gather(mine).detach(), gradient, other, torch.from_numpy(told)


def test_two_processes_gather_with_gradient_and_sum(tmp_path: Path) -> None:
    for gathered, gradient, other, told in in_processes(share_and_sum, 2, tmp_path):
        assert torch.equal(gathered, torch.arange(8.0).reshape(4, 2))
        assert torch.equal(gradient, 2 * torch.arange(8.0).reshape(4, 2))
        assert other.tolist() == [1, 1] and told.tolist() == [0, 1, 2]


SEARCHES = ((7, None), (12, 4), (200, None), (203, 5))  # images, groups


def crowd_of(images: int, groups: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(images)
    embeddings = rng.standard_normal((images, 6)).astype(np.float32)
    embeddings[images // 2] = embeddings[0]  # a tie
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings, None if groups is None else rng.integers(0, groups, images)


def search_together(processes: distributed.Processes) -> Any:
    def search() -> list[np.ndarray]:
        crowds = [crowd_of(*each) for each in SEARCHES]
        return [nearest_neighbours(crowd, 5, groups=groups, device="meta") for crowd, groups in crowds]

    # What would lie on a GPU of each process stays on the CPU.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "to", lambda tensor, *_: tensor)
        return distributed.in_first(processes, search), distributed.in_first(processes, lambda: processes.rank)


@pytest.mark.parametrize("size", [2, 3])
def test_processes_find_the_neighbours_that_one_finds(tmp_path: Path, size: int) -> None:
    for found, told in in_processes(search_together, size, tmp_path):
        assert told == 0
        for each, neighbours in zip(SEARCHES, found, strict=True):
            crowd, groups = crowd_of(*each)
            np.testing.assert_array_equal(neighbours, nearest_neighbours(crowd, 5, groups=groups, device="cpu"))


def state(rank: int, *, differs: int = -1, name: str = "") -> dict[str, torch.Tensor]:
    """Tensors of many types, with a NaN; in process `differs`, the lowest bit of the last element of `name` is not."""
    tensors = {
        "single": torch.tensor([[1.0, float("nan"), -0.0], [3.0, 2.0, 1.0]]),
        "double": torch.arange(5, dtype=torch.float64) / 3,
        "half": torch.arange(7, dtype=torch.bfloat16),
        "count": torch.tensor(3),
        "flags": torch.tensor([True, False]),
        "images": torch.arange(120.0).reshape(2, 3, 4, 5),
        "none": torch.zeros(0, 4),
    }
    if rank % 2:
        tensors["images"] = tensors["images"].contiguous(memory_format=torch.channels_last)
    if rank == differs:
        tensors[name].reshape(-1).view(torch.uint8)[-tensors[name].element_size()] ^= 1
    return tensors


def compare(processes: distributed.Processes) -> list[str]:
    def said(tensors: Any) -> str:
        try:
            processes.require_same(tensors, "the memory")
        except RuntimeError as error:
            return str(error)
        return ""

    rank = processes.rank
    rows = torch.eye(4)
    unequal = [state(rank, differs=rank_of, name=name) for rank_of, name in enumerate(("single", "double", "half"))]
    unequal.append(state(rank, differs=1, name="count"))
    swapped = rows[[1, 0, 2, 3]] if rank == 2 else rows
    renamed = {"b" if rank == 2 else "a": rows}
    one_less = [rows] * (2 if rank == 0 else 3)
    reshaped = rows.reshape(2, 8) if rank < 2 else rows
    cases = [state(rank), list(state(rank).values()), *unequal, [rows, swapped], renamed, one_less, [reshaped], {}]
    return [said(case) for case in cases]


def test_processes_that_do_not_hold_the_same_bits_all_stop(tmp_path: Path) -> None:
    first, *others = in_processes(compare, 3, tmp_path)
    assert others == [first, first]
    assert [place for place, said in enumerate(first) if not said] == [0, 1, len(first) - 1]
    for said, rank, line in zip(
        first[2:-1],
        (0, 1, 2, 1, 2, 2, 0, 2),
        (
            "single torch.float32 (2, 3)",
            "double torch.float64 (5,)",
            "half torch.bfloat16 (7,)",
            "count torch.int64 ()",
            "1 torch.float32 (4, 4)",
            "b torch.float32 (4, 4)",
            "2 tensors",
            "0 torch.float32 (4, 4)",
        ),
        strict=True,
    ):
        assert said.startswith(f"the memory differs in process {rank} of 0 to 2 (first: {line}"), said


def test_one_process_is_always_the_same_as_itself() -> None:
    distributed.Processes().require_same([torch.tensor(float("nan"))], "the memory")


def add_up(processes: distributed.Processes) -> torch.Tensor:
    rows = torch.randn(12, 1000, generator=torch.Generator().manual_seed(1)) * torch.logspace(-6, 6, 12)[:, None]
    return processes.sum_in_order(list(rows[processes.share(12)]))


def test_sum_in_order_has_the_same_bits_on_any_number_of_processes(tmp_path: Path) -> None:
    alone = add_up(distributed.Processes())
    for size in (2, 3, 4):
        (tmp_path / str(size)).mkdir()
        assert all(torch.equal(total, alone) for total in in_processes(add_up, size, tmp_path / str(size)))


def test_process_whose_fellows_never_come_gives_up_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    here = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(joining, "MEETING", timedelta(seconds=1))
    monkeypatch.setattr(joining, "_wait_to_be_ended", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="another training process has failed") as caught, distributed.join():
        pytest.fail("it was alone")
    assert "\n" not in str(caught.value)


def test_mistake_is_left_for_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(UserError), distributed.told_to_launcher():
        raise UserError("nobody listens")
    monkeypatch.setenv(distributed.LISTENING, "1")
    with pytest.raises(SystemExit), distributed.told_to_launcher():
        raise UserError("no cluster")
    assert json.loads((tmp_path / "error.json").read_text())["message"] == "no cluster"
