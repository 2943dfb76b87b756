"""Passwords in text that is shown."""

import pytest

from pipeline.common.credentials import masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://anna:pa55word@db:5432/mlflow refuses", "postgresql://anna:***@db:5432/mlflow refuses"),
        ("https://anna:p%40ss/wo:rd@example.org/api failed", "https://anna:***@example.org/api failed"),
        ("https://ghp_token@example.org failed", "https://***@example.org failed"),
        ("postgresql://db/mlflow?user=a&password=geheim&x=1", "postgresql://db/mlflow?user=a&password=***&x=1"),
        ("sqlite:////home/anna/mlflow.db", "sqlite:////home/anna/mlflow.db"),
        ("postgresql://mlflow@127.0.0.1:5432/mlflow", "postgresql://mlflow@127.0.0.1:5432/mlflow"),
        (
            "write to anna@example.org: 3:4 of http://example.org",
            "write to anna@example.org: 3:4 of http://example.org",
        ),
    ],
)
def test_masked_shows_no_password(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_masked_knows_the_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://anna:p%40ss/word@db/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another one")
    monkeypatch.setenv("PGPASSWORD", "a")
    text = "invalid literal 'p%40ss/word', or p@ss/word, or another one, as an anchor"
    assert masked(text) == "invalid literal '***', or ***, or ***, as an anchor"
