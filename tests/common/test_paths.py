"""Where things lie: the person's checkout, also from a copy of the project."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.common import paths
from pipeline.common.errors import UserError

ROOT = Path(__file__).parents[2]


def test_checkout_is_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert paths.checkout() == tmp_path.resolve()


def test_checkout_is_the_current_folder_where_dvc_names_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", "")
    monkeypatch.chdir(tmp_path)
    assert paths.checkout() == tmp_path.resolve()


def test_checkout_is_dvcs_from_a_copy_of_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("person", "copy"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "person"))
    monkeypatch.chdir(tmp_path / "copy")
    assert paths.checkout() == (tmp_path / "person").resolve()
    assert paths.raw() == paths.checkout() / "data" / "raw"
    assert paths.scratch() == paths.checkout() / ".scratch"


def test_checkout_is_absolute_and_without_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", "link")
    assert paths.checkout() == (tmp_path / "real").resolve()


def test_places_are_looked_up_at_every_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "first"))
    first = paths.raw()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "second"))
    assert paths.raw() != first


def test_results_are_relative_to_the_working_copy() -> None:
    """A copy of the project keeps its own results: DVC collects them there."""
    places = [paths.PREPARED, paths.PRETRAINED, paths.MODEL, paths.EVALUATION, paths.REPORTS]
    assert not any(place.is_absolute() for place in places)
    assert len(set(places)) == len(places)


def test_results_are_what_dvc_keeps() -> None:
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].values()
    listed = [each for stage in stages for kind in ("outs", "metrics", "plots") for each in stage.get(kind, [])]
    names = {each if isinstance(each, str) else next(iter(each)) for each in listed}
    assert {str(path) for path in paths.RESULTS} == names


def test_results_of_each_stage_are_those_of_dvc_yaml() -> None:
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        listed = [each for kind in ("outs", "metrics") for each in stage.get(kind, [])]
        names = {each if isinstance(each, str) else next(iter(each)) for each in listed}
        assert {str(path) for path in paths.RESULTS_OF[name]} == names
    assert list(paths.RESULTS_OF) == list(stages)


def test_results_that_a_failed_stage_cannot_make_anew_are_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    paths.discard_results("prepare")  # nothing is there
    for path in paths.RESULTS:
        place = path / "file" if path.suffix == "" else path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("of an earlier run")
    (paths.REPORTS / "model.onnx").write_text("not a result of a stage")
    paths.discard_results("evaluate")
    left = {str(path) for path in paths.RESULTS if path.exists()}
    states = {"data/dataset.json", "data/weights.json"}
    assert left == states | {"data/prepared", "data/pretrained", "data/model", "reports/training.csv"}
    assert (paths.REPORTS / "model.onnx").is_file()


@pytest.mark.parametrize("name", ["reports/metrics.json", "data/model/m.onnx", "data/model", "x/../data/prepared/a/b"])
def test_results_are_not_written_over_by_other_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    for path in (Path(name), tmp_path / name):
        with pytest.raises(UserError, match="belongs to the results of the stages, which DVC keeps"):
            paths.require_own_place(path)


@pytest.mark.parametrize("name", ["reports/model.onnx", "model.onnx", "data/models/m.onnx", "/elsewhere/data/model/m"])
def test_other_places_may_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.require_own_place(Path(name)) == Path(name)


@pytest.mark.parametrize("link", ["data", "data/raw"])
def test_data_on_another_disk_is_refused_where_it_would_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
    (tmp_path / "disk").mkdir()
    place = tmp_path / "checkout" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "disk")
    with pytest.raises(UserError, match=rf"^{link}/ is a link, .* link the data set in it instead \(docs/data.md"):
        paths.require_real_folders()
    place.unlink()
    place.mkdir()
    paths.require_real_folders()
