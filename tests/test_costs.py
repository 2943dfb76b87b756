"""The benchmark of costs: every step runs on what the steps before it left, and its figure is drawn."""

import io
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.costs import NEEDED, STEPS, drawn, growth


def test_every_step_runs_after_those_whose_results_it_reads(tmp_path: Path) -> None:
    done: set[str] = set()
    for name, step in STEPS.items():
        assert done >= set(NEEDED.get(name, ())), name
        step(1000, tmp_path)()
        done.add(name)


def test_growth_is_the_power_of_the_number_of_images() -> None:
    square = {n: {"seconds": 0.0, "cpu": n * n / 1e6, "bytes": 0.0} for n in (1000, 10_000, 20_000)}
    short = {n: {"seconds": 0.0, "cpu": 0.01, "bytes": 0.0} for n in (1000, 10_000)}
    assert growth({"search": square, "save": short}) == ["search: CPU time grows by the power 2.00, 2.00"]


@pytest.mark.parametrize("sizes", [[1000], [1000, 5000]])
def test_costs_are_drawn(sizes: list[int]) -> None:
    costs = {step: {n: {"seconds": 1.0, "cpu": n / 1e3, "bytes": n * 1e3} for n in sizes} for step in STEPS}
    with Image.open(io.BytesIO(drawn(costs))) as picture:
        assert picture.format == "PNG" and picture.width > 500
