"""Where things lie: the person's checkout, also from a copy of the project."""

from pathlib import Path

import pytest

import pipeline.places as at


def test_checkout_is_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert at.checkout() == tmp_path.resolve()


def test_checkout_is_the_current_folder_where_dvc_names_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", "")
    monkeypatch.chdir(tmp_path)
    assert at.checkout() == tmp_path.resolve()


def test_checkout_is_dvcs_from_a_copy_of_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("person", "copy"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "person"))
    monkeypatch.chdir(tmp_path / "copy")
    assert at.checkout() == (tmp_path / "person").resolve()
    assert at.raw() == at.checkout() / "data" / "raw"
    assert at.scratch() == at.checkout() / ".scratch"


def test_checkout_is_absolute_and_without_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", "link")
    assert at.checkout() == (tmp_path / "real").resolve()


def test_places_are_looked_up_at_every_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "first"))
    first = at.raw()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "second"))
    assert at.raw() != first


def test_results_are_relative_to_the_working_copy() -> None:
    """A copy of the project keeps its own results: DVC collects them there."""
    places = [at.PREPARED, at.PRETRAINED, at.MODEL, at.EVALUATION, at.REPORTS]
    assert not any(place.is_absolute() for place in places)
    assert len(set(places)) == len(places)
