from typing import Any

import numpy as np
import pytest

from pipeline.clustering import eps_at

GOLDEN = "tests/golden/schedules.npz"


@pytest.mark.parametrize("schedule", ["fix", "step", "linear", "expo", "log"])
@pytest.mark.parametrize(("start", "epochs"), [(0.7, 70), (0.8, 80)])
def test_eps_at_golden(schedule, start, epochs, request):
    golden = np.load(request.config.rootpath / GOLDEN)[f"eps/{schedule}/{start}/{epochs}"]
    ours = [eps_at(epoch, schedule=schedule, start=start, epochs=epochs) for epoch in range(epochs)]
    np.testing.assert_allclose(ours, golden, rtol=0, atol=1e-7)


def test_eps_at_first_epoch_is_already_shrunk():
    assert eps_at(0, schedule="expo", start=0.7, epochs=70) == pytest.approx(0.693)
    assert eps_at(0, schedule="linear", start=0.7, epochs=70) == pytest.approx(0.695)
    assert eps_at(0, schedule="step", start=0.7, epochs=70) == pytest.approx(0.67)
    assert eps_at(4, schedule="step", start=0.7, epochs=70) == pytest.approx(0.67)
    assert eps_at(5, schedule="step", start=0.7, epochs=70) == pytest.approx(0.64)


def test_eps_at_stops_at_the_floor():
    # 0.405 and 0.400 are above 0.399 and shrink once more; 0.395 is not.
    assert eps_at(0, schedule="linear", start=0.405, epochs=9) == pytest.approx(0.400)
    assert eps_at(8, schedule="linear", start=0.405, epochs=9) == pytest.approx(0.395)
    assert eps_at(8, schedule="expo", start=0.3, epochs=9) == 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "cosine"}, "eps schedule must be one of expo, linear, step, log, fix, got 'cosine'"),
        ({"start": 1.3}, r"eps must be in \(0, 1\), got 1.3"),
        ({"start": 0.0}, r"eps must be in \(0, 1\), got 0.0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epoch": -1}, "epoch must be at least 0, got -1"),
    ],
)
def test_eps_at_errors(change, message):
    values: dict[str, Any] = {"epoch": 0, "schedule": "expo", "start": 0.7, "epochs": 70} | change
    with pytest.raises(ValueError, match=message):
        eps_at(values.pop("epoch"), **values)
