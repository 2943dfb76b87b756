"""Animals: the lists of ATRW and the table of WildlifeReID-10k."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.preparation.readers import atrw, wildlife


def rows(catalogue: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(catalogue.astype(object).where(catalogue.notna(), None).itertuples(index=False, name=None))


def tigers(folder: Path, *, truth: Any = None, train: str = "199,000001.jpg\n7,000003.jpg\n") -> Path:
    """As most copies are laid out: everything in one folder."""
    for name in ("train/000001.jpg", "train/000003.jpg", "test/000000.jpg", "test/004096.jpg", "test/000002.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "reid_list_train.csv").write_text(train, encoding="utf-8")
    if truth is not None:
        (folder / "gt_test_plain.json").write_text(json.dumps(truth), encoding="utf-8")
    return folder


TRUTH = [
    {"query": "sing", "entityid": 199, "frame": [23, 4, 657], "imgid": 0},
    {"query": "multi", "entityid": 235, "frame": [31, 4, 1089], "imgid": 4096},
    {"query": "multi", "entityid": 235, "frame": [30, 1, 105], "imgid": 2},
]
TRAIN = [("train/000001.jpg", 199, None, "train"), ("train/000003.jpg", 7, None, "train")]


def test_atrw_is_for_training_only_without_the_ground_truth_and_says_where_it_is(tmp_path: Path) -> None:
    found = atrw.read(tigers(tmp_path))
    assert rows(found.catalogue) == TRAIN
    (note,) = found.notes
    assert "holds no gt_test_plain.json (from github.com/cvwc2019/ATRWEvalScript" in note


def test_atrw_queries_are_the_images_of_entities_that_several_cameras_see(tmp_path: Path) -> None:
    found = atrw.read(tigers(tmp_path, truth=TRUTH))
    assert rows(found.catalogue) == [
        *TRAIN,
        ("test/000002.jpg", 235, 30_001, "query"),
        ("test/004096.jpg", 235, 31_004, "query"),
        ("test/000000.jpg", 199, 23_004, "gallery"),
        ("test/000002.jpg", 235, 30_001, "gallery"),
        ("test/004096.jpg", 235, 31_004, "gallery"),
    ]
    assert found.names.camera(23_004) == "23/4" and found.notes == ()


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({}, r"gt_test_plain\.json is not the ground truth of ATRW's test images \(github"),
        ([TRUTH[0], {"query": "multi"}], "entry 2 is {'query': 'multi'}"),
        ([{**TRUTH[0], "frame": [1, 2]}], "entry 1 is"),
        ([{**TRUTH[0], "imgid": True}], "entry 1 is"),
        ([{**TRUTH[0], "imgid": 5}], r"test lacks 1 images that gt_test_plain\.json names: 000005\.jpg"),
    ],
)
def test_atrw_refuses_another_ground_truth(tmp_path: Path, truth: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        atrw.read(tigers(tmp_path, truth=truth))


def test_atrw_says_what_is_missing_or_not_understood(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reid_list_train\.csv: 1 lines are not like 199,000000\.jpg: line 2 \(x\)"):
        atrw.read(tigers(tmp_path / "lines", train="1,000001.jpg\nx\n"))
    with pytest.raises(UserError, match=r"reid_list_train\.csv names no images"):
        atrw.read(tigers(tmp_path / "empty", train="\n"))
    (tmp_path / "half/train").mkdir(parents=True)
    with pytest.raises(UserError, match=r"half holds no reid_list_train\.csv: ATRW must be there with"):
        atrw.read(tmp_path / "half")


HEADER = "identity,path,date,orientation,species,split,dataset"
LINES = (
    "Turtles_b,images/1.jpg,2019-01-01,left,turtle,train,Turtles",
    "Turtles_a,images/2.jpg,2019-01-01,left,turtle,train,Turtles",
    "Turtles_a,images/3.jpg,2019-01-02,right,turtle,test,Turtles",
    "Cows_0,images/4.jpg,2019-01-01,,cow,test,Cows",
)


def animals(folder: Path, *lines: str, header: str = HEADER) -> Path:
    (folder / "metadata.csv").write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return folder


def test_wildlife_test_images_are_queries_and_gallery(tmp_path: Path) -> None:
    found = wildlife.read(animals(tmp_path, *LINES))
    assert rows(found.catalogue) == [
        ("images/1.jpg", 3, None, "train"),
        ("images/2.jpg", 2, None, "train"),
        ("images/3.jpg", 2, None, "query"),
        ("images/4.jpg", 1, None, "query"),
        ("images/3.jpg", 2, None, "gallery"),
        ("images/4.jpg", 1, None, "gallery"),
    ]
    assert [found.names.identity(number) for number in (1, 2, 3)] == ["Cows_0", "Turtles_a", "Turtles_b"]


def test_wildlife_takes_member_sets_species_and_cameras(tmp_path: Path) -> None:
    folder = animals(tmp_path, *LINES)
    found = wildlife.read(folder, datasets=["Turtles"], camera="orientation")
    assert [row[2] for row in rows(found.catalogue)] == [1, 1, 2, 2]
    assert dict(found.names.cameras) == {1: "left", 2: "right"}
    assert len(wildlife.read(folder, species=["cow"]).catalogue) == 2
    both = wildlife.read(folder, camera="date")  # one day is not one camera of two member sets
    assert list(both.names.cameras.values()) == ["Cows 2019-01-01", "Turtles 2019-01-01", "Turtles 2019-01-02"]


def test_wildlife_reads_the_table_of_a_challenge(tmp_path: Path) -> None:
    lines = ("0,7,a/1.jpg,database", "1,,a/2.jpg,query", "2,9,a/3.jpg,query")
    found = wildlife.read(animals(tmp_path, *lines, header="image_id,identity,path,split"))
    assert [(path, split) for path, _, _, split in rows(found.catalogue)] == [
        ("a/1.jpg", "train"),
        ("a/3.jpg", "query"),
        ("a/3.jpg", "gallery"),
    ]
    assert "1 of 2 test images are left out, as their individual is not known" in found.notes[0]
    nobody = wildlife.read(animals(tmp_path, "a/1.jpg,unknown", "a/2.jpg,7", header="path,identity"))
    assert rows(nobody.catalogue) == [("a/1.jpg", None, None, "train"), ("a/2.jpg", None, None, "train")]


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (LINES, {"datasets": ["Turtle"]}, r"holds no dataset 'Turtle' \(wildlife\.datasets\): there are Cows, Turtles"),
        (LINES, {"camera": "place"}, r"wildlife\.camera is 'place', but .* has only the columns identity, path, date"),
        (LINES, {"camera": "orientation"}, r"orientation is empty in 1 of 4 rows, such as row 5: take member sets"),
        (("a,1.jpg,,,,val,",), {}, r"row 2: split must be one of train, database, test, query, got 'val'"),
        (("a,../1.jpg,,,,train,",), {}, "path must be relative"),
        ((",1.jpg,,,,test,",), {}, "names no images that can be used"),
        (("a,1.jpg,,,,train,,,",), {}, "is not a table|more values than"),
    ],
)
def test_wildlife_refuses_what_it_cannot_read(
    tmp_path: Path, lines: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        wildlife.read(animals(tmp_path, *lines), **options)


def test_wildlife_says_which_column_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata\.csv has no column identity, only path, label"):
        wildlife.read(animals(tmp_path, header="path,label"))
    with pytest.raises(UserError, match=r"has no column species: leave it empty"):
        wildlife.read(animals(tmp_path, "a,1.jpg", header="identity,path"), species=["cow"])
