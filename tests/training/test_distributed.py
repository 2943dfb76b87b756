"""What the processes share: rows, gradients, sums, and the first one's mistakes."""

import copy
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing

from pipeline.errors import UserError
from pipeline.model import build
from pipeline.training import distributed
from pipeline.training.trainer import Trainer


def test_default_processes_is_one_a_gpu_as_far_as_the_batch_can_be_shared() -> None:
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


def in_processes(function: Any, size: int, folder: Path, *arguments: Any) -> list[Any]:
    """What `function(processes, *arguments)` returns in each of `size` gloo processes."""
    multiprocessing.start_processes(
        _process, args=(size, folder, function, arguments), nprocs=size, start_method="spawn"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _process(rank: int, size: int, folder: Path, function: Any, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        found = function(distributed.Processes(rank=rank, size=size), *arguments)
        torch.save(found, folder / f"{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


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


def train_in_double(processes: distributed.Processes, crowd: Any, plan: Any) -> Any:
    torch.manual_seed(1)
    student = build("resnet10_w32", bn_group=8).double()
    trainer = Trainer(
        student, copy.deepcopy(student), images=crowd.images, cameras=crowd.cameras, plan=plan, processes=processes,
        shown=False,
    )  # fmt: skip
    results = [(result.loss, result.labels.tolist()) for result in trainer.run()]
    return results, student.state_dict(), trainer.teacher.state_dict()


def test_one_and_two_processes_train_the_same_in_double_precision(crowd: Any, plan: Any, tmp_path: Path) -> None:
    plan = dataclasses.replace(plan, epochs=3)
    results, *networks = train_in_double(distributed.Processes(), crowd, plan)
    for found, *others in in_processes(train_in_double, 2, tmp_path, crowd, plan):
        assert [labels for _, labels in found] == [labels for _, labels in results]
        np.testing.assert_allclose([loss for loss, _ in found], [loss for loss, _ in results], rtol=0, atol=1e-9)
        for network, other in zip(networks, others, strict=True):
            for key, value in network.items():
                torch.testing.assert_close(other[key], value, rtol=0, atol=1e-7, msg=key)


def test_mistake_is_left_for_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(UserError), distributed.told_to_launcher():
        raise UserError("nobody listens")
    monkeypatch.setenv(distributed.LISTENING, "1")
    with pytest.raises(SystemExit), distributed.told_to_launcher():
        raise UserError("no cluster")
    assert json.loads((tmp_path / "error.json").read_text())["message"]["message"] == "no cluster"
