"""Several data sets as one: what stays apart, what is left out, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.common.contents import contents_of_all
from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.links import Link
from pipeline.datasets.names import Names
from pipeline.datasets.packed_images import PackedImages
from pipeline.evaluation.test_set import TestSet
from pipeline.preparation.prepared_folder import write_prepared_folder
from pipeline.preparation.readers import Source, open_dataset
from pipeline.preparation.union import joined
from tests.replicas import write_replica

Rows = list[tuple[str, int | None, int | None, str]]
ONE: Rows = [
    ("t/1.jpg", 2, 1, "train"),
    ("q.jpg", 3, 1, "query"),
    ("g.jpg", 3, 2, "gallery"),
    ("d.jpg", 0, 2, "gallery"),
]
OTHER: Rows = [("t/1.jpg", 0, 5, "train"), ("q.jpg", 0, 5, "query"), ("g.jpg", 0, 6, "gallery")]


def source(rows: Rows, folder: str = "there", **values: Any) -> Source:
    return Source(Path(folder), from_rows(rows), **values)


def rows(catalogue: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(catalogue.astype(object).where(catalogue.notna(), None).itertuples(index=False, name=None))


def test_identities_and_cameras_are_kept_apart_and_distractors_stay_distractors(tmp_path: Path) -> None:
    names = Names({3: "anna"}, {1: "gate"})
    parts = {"one": source(ONE, "a", names=names), "other": source(OTHER, "b")}
    found = joined(parts, corrections=tmp_path)
    assert rows(found.catalogue) == [
        ("one/t/1.jpg", 2, 1, "train"),
        ("other/t/1.jpg", 4, 8, "train"),
        ("one/q.jpg", 3, 1, "query"),
        ("other/q.jpg", 4, 8, "query"),
        ("one/d.jpg", 0, 2, "gallery"),
        ("one/g.jpg", 3, 2, "gallery"),
        ("other/g.jpg", 4, 9, "gallery"),
    ]
    assert found.folder == {"one": Path("a"), "other": Path("b")}
    assert (found.names.identity(3), found.names.identity(4)) == ("one anna", "other 0")
    assert (found.names.camera(1), found.names.camera(2), found.names.camera(9)) == ("one gate", "one 2", "other 6")
    turned = joined(dict(reversed(parts.items())), corrections=tmp_path).catalogue
    pids = turned.set_index(turned["split"] + " " + turned["path"])["pid"]
    assert pids["gallery one/d.jpg"] == 0 and pids["query other/q.jpg"] == 1  # an identity 0 is no distractor


def test_links_and_tracklets_follow_their_images(tmp_path: Path) -> None:
    links = (Link("outlier", "t/1.jpg", ""), Link("must_link", "t/1.jpg", "t/1.jpg"))
    told = {("query", "q.jpg"): 0, ("gallery", "g.jpg"): 1}
    (tmp_path / "corrections.csv").write_text("kind,path_a,path_b\nmust_link,one/t/1.jpg,other/t/1.jpg\n")
    parts = {name: source(each, links=links, tracklets=told) for name, each in (("one", ONE), ("other", OTHER))}
    found = joined(parts, corrections=tmp_path)
    assert found.links[0] == Link("outlier", "one/t/1.jpg", "")
    assert found.links[-1] == Link("must_link", "one/t/1.jpg", "other/t/1.jpg")
    assert sorted(found.tracklets.values()) == [0, 1, 2, 3]
    assert found.tracklets["gallery", "other/g.jpg"] == 3


def test_what_one_data_set_does_not_know_is_not_used_and_said(tmp_path: Path) -> None:
    nameless: Rows = [("1.jpg", None, None, "train"), ("q.jpg", None, None, "query"), ("g.jpg", None, None, "gallery")]
    found = joined({"one": source(ONE), "mine": source(nameless)}, corrections=tmp_path)
    train = found.catalogue[found.catalogue["split"] == "train"]
    assert train["pid"].isna().all() and train["camid"].isna().all()
    assert set(found.catalogue["path"].str.partition("/")[0][found.catalogue["split"] != "train"]) == {"one"}
    assert found.notes == (
        "the test images of mine are left out: their identities are not known",
        "identities of the training images are not used: mine has none",
        "cameras of the training images are not used: mine has none",
    )


def test_test_images_with_and_without_cameras_are_refused(tmp_path: Path) -> None:
    cameraless = [(path, pid, None, split) for path, pid, _, split in OTHER]
    with pytest.raises(UserError, match=r"cameras of the test images are known in one, not in other: one protocol"):
        joined({"one": source(ONE), "other": source(cameraless)}, corrections=tmp_path)


def test_each_data_set_scores_as_on_its_own(tmp_path: Path) -> None:
    """Packed from the folders of both, one of them a link to another disk."""
    parts = {}
    for name in ("market1501", "personx"):
        write_replica(name, tmp_path / "raw", train_identities=2, test_identities=3, height=16, width=8)
        parts[name] = open_dataset(name, tmp_path / "raw")
    disk = tmp_path / "disk"
    folder = parts["personx"].folder
    assert isinstance(folder, Path)
    folder.rename(disk)
    folder.symlink_to(disk, target_is_directory=True)
    whole = joined(parts, corrections=tmp_path)
    size = {"height": 16, "width": 8, "workers": 1}
    write_prepared_folder(whole.catalogue, whole.folder, tmp_path / "both", names=whole.names, **size)  # type: ignore[arg-type]
    packed = PackedImages(tmp_path / "both")
    assert packed.members == ("market1501", "personx")
    generator = np.random.default_rng(1)
    test = TestSet(packed)
    query, gallery = (generator.normal(size=(len(side), 4)) for side in (test.query, test.gallery))
    found = test.score_members(query, gallery)
    for name, part in parts.items():
        write_prepared_folder(part.catalogue, part.folder, tmp_path / name, **size)  # type: ignore[arg-type]
        alone = TestSet(PackedImages(tmp_path / name))
        asked, there, member = test.members[name]
        np.testing.assert_array_equal(member.query.images, alone.query.images)
        np.testing.assert_array_equal(member.gallery.images, alone.gallery.images)
        expected = alone.score(query[asked], gallery[there])
        assert (found[name].mean_ap, found[name].cmc) == (expected.mean_ap, expected.cmc)


def test_contents_of_several_folders_are_those_of_each(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("a", "b")}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "1.txt").write_text(name)
    memory = tmp_path / "memory"
    first = contents_of_all(folders, memory=memory)
    assert first is not None and (first.files, first.bytes) == (2, 2)
    assert contents_of_all({"a": folders["b"], "b": folders["a"]}, memory=memory) != first
    (folders["b"] / "1.txt").unlink()
    assert contents_of_all(folders, memory=memory) is None
