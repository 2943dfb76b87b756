"""Grouped BatchNorm against torch's own on each group, and one commit a step on any number of processes."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.model.batchnorm import GroupedBatchNorm1d, GroupedBatchNorm2d, commit_statistics_


def randomised(layer: nn.Module) -> nn.Module:
    """Gives a BatchNorm a weight, bias and running statistics that are not the neutral ones."""
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            tensor.uniform_(0.5, 1.5)
    return layer


def small_model(group_size: int | None) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        GroupedBatchNorm2d(8, group_size=group_size),
        nn.Conv2d(8, 5, 3),
        GroupedBatchNorm2d(5, group_size=group_size),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        GroupedBatchNorm1d(5, group_size=group_size),
    )


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def test_grouped_batchnorm_toy():
    layer = GroupedBatchNorm1d(1, group_size=2)
    output = layer(torch.tensor([[1.0], [3.0], [5.0], [9.0]]))
    torch.testing.assert_close(output, torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]), atol=1e-5, rtol=0)
    # Means 2 and 7, unbiased variances 2 and 8.
    commit_statistics_(layer)
    assert layer.running_mean.item() == pytest.approx(0.1 * 4.5)
    assert layer.running_var.item() == pytest.approx(0.9 + 0.1 * 5)
    assert layer.num_batches_tracked.item() == 1


@settings(max_examples=40, deadline=None)
@given(
    num_groups=st.integers(1, 4),
    size=st.integers(2, 5),
    channels=st.integers(1, 7),
    side=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 1000),
)
def test_grouped_batchnorm_equals_torch_on_each_group(num_groups, size, channels, side, seed):
    torch.manual_seed(seed)
    shape = (num_groups * size, channels) + (() if side is None else (side, side))
    ours_class, torch_class = (
        (GroupedBatchNorm1d, nn.BatchNorm1d) if side is None else (GroupedBatchNorm2d, nn.BatchNorm2d)
    )
    ours = randomised(ours_class(channels, group_size=size).double())
    theirs = torch_class(channels).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    coefficients = torch.randn(shape, dtype=torch.float64)

    y = ours(x)
    expected = torch.cat([theirs(group) for group in x.split(size)])
    torch.testing.assert_close(y, expected)
    assert torch.equal(x, before)

    found = torch.autograd.grad((y * coefficients).sum(), [x, ours.weight, ours.bias])
    wanted = torch.autograd.grad((expected * coefficients).sum(), [x, theirs.weight, theirs.bias])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_grouped_batchnorm_gradient_is_the_numerical_one():
    torch.manual_seed(0)
    layer = randomised(GroupedBatchNorm2d(2, group_size=2).double())
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("group_size", [None, 12])
def test_one_group_is_torch_batchnorm_over_several_steps(group_size):
    torch.manual_seed(0)
    ours, theirs = GroupedBatchNorm2d(4, group_size=group_size), nn.BatchNorm2d(4)
    for _ in range(3):
        x = torch.randn(12, 4, 3, 2) * 3 + 1
        assert torch.equal(ours(x), theirs(x))
        commit_statistics_(ours)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_eval_uses_the_running_statistics_whatever_the_group():
    torch.manual_seed(0)
    ours, theirs = randomised(GroupedBatchNorm2d(4, group_size=64)).eval(), nn.BatchNorm2d(4).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 4, 3, 2)
    assert torch.equal(ours(x), theirs(x))
    assert ours.group_statistics is None


def test_forward_leaves_the_running_statistics_alone():
    model = small_model(group_size=2)
    before = buffers(model)
    model(torch.randn(4, 3, 8, 8))
    model(torch.randn(4, 3, 8, 8))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_commit_moves_by_the_mean_over_groups_of_torch_statistics():
    torch.manual_seed(0)
    layer = randomised(GroupedBatchNorm2d(3, group_size=4))
    x = torch.randn(12, 3, 5, 2)
    old_mean, old_variance = layer.running_mean.clone(), layer.running_var.clone()
    layer(x)
    commit_statistics_(layer)
    groups = x.split(4)
    mean = sum(group.mean(dim=(0, 2, 3)) for group in groups) / 3
    variance = sum(group.var(dim=(0, 2, 3)) for group in groups) / 3
    torch.testing.assert_close(layer.running_mean, 0.9 * old_mean + 0.1 * mean)
    torch.testing.assert_close(layer.running_var, 0.9 * old_variance + 0.1 * variance)


@pytest.mark.parametrize("num_processes", [2, 4])
def test_commit_is_bitwise_the_same_on_any_number_of_processes(num_processes):
    torch.manual_seed(0)
    single = small_model(group_size=4)
    processes = [copy.deepcopy(single) for _ in range(num_processes)]
    for _ in range(3):
        images = torch.randn(16, 3, 9, 7)
        output = single(images)
        parts = [model(part) for model, part in zip(processes, images.chunk(num_processes), strict=True)]
        torch.testing.assert_close(torch.cat(parts), output)
        local = [
            torch.cat([layer.group_statistics for layer in model if hasattr(layer, "group_statistics")], dim=1)  # type: ignore[misc]
            for model in processes
        ]
        commit_statistics_(single)
        for rank, model in enumerate(processes):
            calls: list[Any] = []

            def gather(rows, *, rank=rank, calls=calls, local=local):
                calls.append(rows.shape)
                assert torch.equal(rows, local[rank])
                return torch.cat(local)

            commit_statistics_(model, reduce=gather)
            assert calls == [(4 // num_processes, 2 * (8 + 5 + 5))]
    for model in processes:
        for name, buffer in single.named_buffers():
            assert torch.equal(model.get_buffer(name), buffer), name


def test_commit_sums_the_groups_in_order():
    # In float32, 1e8 - 1e8 + 1 + 0.5 is 1.5 from left to right, but 0 from right to left.
    layer = GroupedBatchNorm1d(1)
    layer.group_statistics = torch.zeros(1, 2)
    rows = torch.tensor([[1e8], [-1e8], [1.0], [0.5]]).repeat(1, 2)
    commit_statistics_(layer, reduce=lambda _: rows)
    assert layer.running_mean.item() == pytest.approx(0.1 * 1.5 / 4)


def test_commit_needs_a_forward_pass_for_each_call():
    layer = GroupedBatchNorm1d(3)
    with pytest.raises(AssertionError, match="forward pass"):
        commit_statistics_(layer)
    layer(torch.randn(4, 3))
    commit_statistics_(layer)
    with pytest.raises(AssertionError, match="forward pass"):
        commit_statistics_(layer)


def test_commit_without_any_batchnorm_does_nothing():
    commit_statistics_(nn.Linear(2, 2), reduce=lambda _: pytest.fail("nothing to reduce"))


def test_state_dict_is_that_of_torch():
    ours, theirs = GroupedBatchNorm2d(3), nn.BatchNorm2d(3)
    ours(torch.randn(4, 3, 2, 2))  # what it keeps is no part of the state
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert isinstance(ours, nn.BatchNorm2d)


def test_teacher_in_train_mode_without_gradient_keeps_statistics_and_can_be_copied():
    layer = GroupedBatchNorm1d(3)
    with torch.no_grad():
        layer(torch.randn(4, 3))
    copied = copy.deepcopy(layer)
    commit_statistics_(layer)
    commit_statistics_(copied)
    assert torch.equal(layer.running_mean, copied.running_mean)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_keeps_statistics_in_float32(dtype):
    torch.manual_seed(0)
    layer = GroupedBatchNorm2d(3, group_size=4)
    x = torch.randn(8, 3, 4, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        low = layer(x.to(dtype))
    assert low.dtype == dtype
    assert layer.group_statistics.dtype == torch.float32
    torch.testing.assert_close(low.float(), layer(x), atol=0.05, rtol=0.02)
    low.float().square().sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("group_size", [None, 4])
def test_channels_last_stays_channels_last(group_size):
    torch.manual_seed(0)
    layer = GroupedBatchNorm2d(6, group_size=group_size)
    x = torch.randn(8, 6, 5, 4)
    y = layer(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, layer(x))


def test_compiled_equals_eager():
    torch.manual_seed(0)
    eager = GroupedBatchNorm2d(3, group_size=2)
    other = copy.deepcopy(eager)
    compiled = torch.compile(other, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        x = torch.randn(4, 3, 2, 2)
        torch.testing.assert_close(compiled(x), eager(x))
        commit_statistics_(eager)
        commit_statistics_(other)
    for name, buffer in eager.named_buffers():
        torch.testing.assert_close(other.get_buffer(name), buffer)


@pytest.mark.parametrize(("batch", "size"), [(3, 2), (2, 4), (0, 2)])
def test_batch_that_is_no_multiple_of_the_group_is_refused(batch, size):
    with pytest.raises(ValueError, match=f"multiple of group_size {size}, got {batch} images"):
        GroupedBatchNorm1d(3, group_size=size)(torch.randn(batch, 3))


@pytest.mark.parametrize("size", [None, 1])
def test_group_of_one_value_is_refused(size):
    with pytest.raises(ValueError, match="group of one value per channel"):
        GroupedBatchNorm1d(3, group_size=size)(torch.randn(1, 3))
