"""The tracklets of the drawn people: in nobody's way, true, and used where a setting says so."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.datasets.packed_images import PackedImages
from pipeline.preparation import synthetic_dataset
from pipeline.preparation.links import CORRECTIONS
from pipeline.preparation.prepared_folder import write_prepared_folder
from pipeline.preparation.readers import ReaderOptions, Source, open_dataset
from pipeline.preparation.synthetic import series, write_synthetic
from pipeline.preparation.synthetic_dataset import ensure_synthetic


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Many people in small pictures: what matters here is who was where."""
    draw = write_synthetic
    counts = {"height": 16, "width": 16, "images_per_camera": 2, "distractors": 5, "junk": 3, "workers": 1}
    monkeypatch.setattr(synthetic_dataset, "write_synthetic", lambda *args, **more: draw(*args, **{**more, **counts}))
    yield


def draw(raw: Path, *, seed: int = 1, train: int = 60) -> Source:
    ensure_synthetic(raw / "synthetic", seed=seed, train_identities=train, test_identities=4, cameras=3)
    return open_dataset("synthetic", raw, options=ReaderOptions(tracklets=True))


def test_tracklets_are_of_one_person_and_camera_and_those_that_overlap_of_two(tmp_path: Path) -> None:
    source = draw(tmp_path)
    table = pd.read_csv(tmp_path / "synthetic/tracklets.csv").merge(source.catalogue, on="path", how="left")
    assert not table["pid"].isna().any() and len(table) == len(source.catalogue)
    by_tracklet = table.groupby("tracklet")
    assert by_tracklet["camid"].nunique().eq(1).all() and by_tracklet["start"].nunique().eq(1).all()
    assert table[table["pid"] > 0].groupby("tracklet")["pid"].nunique().eq(1).all()
    spans = by_tracklet.first().sort_values("start")
    for _, of_one in spans[spans["pid"] > 0].groupby("pid"):  # nobody is in two places
        assert (of_one["start"].to_numpy()[1:] > of_one["end"].to_numpy()[:-1]).all()
    who = dict(zip(source.catalogue["path"], source.catalogue["pid"], strict=True))
    kinds = defaultdict(list)
    for kind, a, b in source.links:
        kinds[kind].append(who[a] == who[b])
    assert all(kinds["must_link"]) and not any(kinds["cannot_link"])
    assert len(kinds["must_link"]) > 100 and len(kinds["cannot_link"]) > 5
    assert not {path for _, *paths in source.links for path in paths} - set(
        source.catalogue["path"][source.catalogue["split"] == "train"]
    )


def test_tracklets_are_not_used_unless_a_setting_says_so_and_change_no_picture(tmp_path: Path) -> None:
    with_, without = draw(tmp_path, train=4), open_dataset("synthetic", tmp_path)
    assert without.links == () and dict(without.tracklets) == {} and without.notes == ()
    assert with_.catalogue.equals(without.catalogue) and len(with_.tracklets) > 0
    packed = {}
    for name, source in (("with", with_), ("without", without)):
        summary = write_prepared_folder(
            source.catalogue, source.folder, tmp_path / name, height=16, width=8, tracklets=source.tracklets
        )
        packed[name] = summary, (tmp_path / name / "images.npy").read_bytes()
    assert packed["with"] == packed["without"]
    opened = PackedImages(tmp_path / "with")
    gallery = opened.split("gallery")
    assert opened.split("train").tracklets is None and gallery.tracklets is not None
    assert [with_.tracklets["gallery", path] for path in gallery.paths] == gallery.tracklets.tolist()
    assert PackedImages(tmp_path / "without").split("gallery").tracklets is None
    write_text(tmp_path / "with/tracklets.csv", "split,path,tracklet\ngallery,a,x\n")
    with pytest.raises(UserError, match=r"tracklets\.csv is damaged: run the prepare stage again"):
        PackedImages(tmp_path / "with")


@pytest.mark.parametrize("content", [None, "", "path,tracklet\n", "path,tracklet,start,end\na,1\n", "\0"])
def test_tracklets_that_are_gone_or_damaged_are_one_line(tmp_path: Path, content: str | None) -> None:
    draw(tmp_path, train=2)
    file = tmp_path / "synthetic/tracklets.csv"
    file.unlink()
    if content is not None:
        write_text(file, content)
    with pytest.raises(UserError, match=r"tracklets\.csv is (missing|damaged): remove .*synthetic, and it is drawn"):
        draw(tmp_path, train=2)


def test_pictures_do_not_depend_on_when_people_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "one", train=2)
    monkeypatch.setattr(series, "_WALK", 99)
    draw(tmp_path / "two", train=2)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("one", "two")
    )
    assert [name for name in one if one[name] != two[name]] == ["tracklets.csv"]


def test_drawing_again_keeps_corrections(tmp_path: Path) -> None:
    folder = tmp_path / "synthetic"
    content = "kind,path_a,path_b\n"
    write_text(folder / CORRECTIONS, content)  # alone, it is nobody's data
    draw(tmp_path, train=2)
    first = sorted(path.name for path in (folder / "bounding_box_train").iterdir())
    draw(tmp_path, train=3)
    assert sorted(path.name for path in (folder / "bounding_box_train").iterdir()) != first
    assert (folder / CORRECTIONS).read_text() == content
    (folder / "made_by.json").unlink()
    with pytest.raises(UserError, match="holds files that this project did not generate"):
        draw(tmp_path, train=3)
