"""A run that fails leaves no page that looks like its own."""

from pathlib import Path

import pytest

import stages


@pytest.fixture
def old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/figures").mkdir(parents=True)
    (tmp_path / "reports/figures/map.png").touch()
    (tmp_path / "reports/report.html").touch()
    (tmp_path / "reports/metrics.json").touch()
    return tmp_path / "reports"


@pytest.mark.parametrize("stage", ["prepare", "pretrained", "train", "evaluate"])
def test_stage_that_starts_leaves_no_result_of_an_earlier_run_behind_it(
    stage: str, old_report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", stage)
    stages.discard_stale_results()
    # What `evaluate` itself writes it removes when it has read what it needs.
    assert [path.name for path in old_report.iterdir()] == (["metrics.json"] if stage == "evaluate" else [])


@pytest.mark.parametrize("stage", [None, "sources"])
def test_commands_and_stages_that_change_no_result_leave_the_report(
    stage: str | None, old_report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage is None:
        monkeypatch.delenv("DVC_STAGE", raising=False)
    else:
        monkeypatch.setenv("DVC_STAGE", stage)
    stages.discard_stale_results()
    assert (old_report / "report.html").exists() and (old_report / "figures/map.png").exists()
