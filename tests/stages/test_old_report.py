"""A run that fails leaves no page that looks like its own."""

from pathlib import Path

import pytest

import stages
from pipeline.common.errors import UserError


@pytest.fixture
def old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["stage"])
    (tmp_path / "reports/figures").mkdir(parents=True)
    (tmp_path / "reports/figures/map.png").touch()
    (tmp_path / "reports/report.html").touch()
    (tmp_path / "reports/metrics.json").touch()
    return tmp_path / "reports"


def fail() -> None:
    raise UserError("the loss is not finite")


@pytest.mark.parametrize("stage", ["prepare", "pretrained", "train", "evaluate"])
def test_failed_stage_leaves_no_report_of_an_earlier_run(
    stage: str, old_report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", stage)
    with pytest.raises(SystemExit):
        stages.run(fail)
    assert [path.name for path in old_report.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize("stage", [None, "sources"])
def test_commands_and_stages_that_change_no_result_leave_the_report(
    stage: str | None, old_report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage is None:
        monkeypatch.delenv("DVC_STAGE", raising=False)
    else:
        monkeypatch.setenv("DVC_STAGE", stage)
    with pytest.raises(SystemExit):
        stages.run(fail)
    assert (old_report / "report.html").exists() and (old_report / "figures/map.png").exists()
