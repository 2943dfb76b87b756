"""How long a training is said to take."""

import pytest
from torch import nn

from pipeline.training import duration as module
from pipeline.training.duration import duration, training_seconds
from tests.training.small import small_settings


@pytest.mark.parametrize(("method", "passes"), [("dccc", 4), ("cluster_contrast", 3)])
def test_passes_are_those_of_the_steps_and_of_the_extraction(
    monkeypatch: pytest.MonkeyPatch, method: str, passes: int
) -> None:
    """Forward and twice as long back, and forward once more where there is a teacher."""
    monkeypatch.setattr(module, "embedding_seconds", lambda *_, **__: 0.5)
    settings = small_settings(method=method, epochs=2, train__iters=3, sampler__batch=16)
    expected = 0.5 * 2 * (3 * 16 * passes + 100)
    assert training_seconds(nn.Identity(), settings, images=100) == expected
    assert training_seconds(nn.Identity(), settings, images=100, processes=2) == expected / 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (54, "54 seconds"), (300, "5 minutes"), (3 * 3600, "3 hours"), (3 * 86400, "3 days")],
)
def test_time_is_named_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert duration(seconds) == words
