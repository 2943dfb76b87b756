"""Where links come from: tracklets and corrections."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.datasets.links import Link, read_links, write_links
from pipeline.preparation.links import CORRECTIONS, Span, consistent_links, read_corrections, tracklet_links
from pipeline.preparation.prepared_folder import write_prepared_folder
from pipeline.preparation.readers import ReaderOptions, csv_table, image_folder, open_dataset

HEADER = "path,split,camid,tracklet,start,end\n"


def table(folder: Path, text: str):
    write_text(folder / "images.csv", HEADER + text)
    return csv_table.read(folder, table="images.csv")


def test_tracklets_of_one_camera_that_overlap_are_two() -> None:
    tracklets = {"a": ["a1", "a2", "a3"], "b": ["b1"], "c": ["c1"], "d": ["d1"], "e": ["e1"]}
    spans = {"a": Span(1, 0, 10), "b": Span(1, 5, 6), "c": Span(1, 10, 12), "d": Span(2, 0, 10), "e": Span(None, 0, 9)}
    assert tracklet_links({"d": ["d1"], "e": ["e1"]}, {"d": Span(None, 0, 9), "e": Span(None, 0, 9)}) == []
    instants = {"b": Span(1, 5, 5), "c": Span(1, 5, 5), "d": Span(1, 5, 8), "e": Span(1, 2, 5)}
    links = tracklet_links({name: tracklets[name] for name in "bcde"}, instants)
    assert links == [Link("cannot_link", *pair) for pair in (("b1", "c1"), ("b1", "d1"), ("c1", "d1"))]
    assert tracklet_links(tracklets, spans) == [
        Link("must_link", "a1", "a2"),
        Link("must_link", "a2", "a3"),
        Link("cannot_link", "a1", "b1"),
    ]


def test_table_gives_the_links_of_its_tracklets(tmp_path: Path) -> None:
    text = "a1,train,1,a,0,5\na2,train,1,a,3,9\nb1,train,1,b,8,9\nc1,train,2,nan,,\nq,query,1,a,0,9\nd,train,1,,,\n"
    reading = table(tmp_path, text)
    assert reading.links == (Link("must_link", "a1", "a2"), Link("cannot_link", "a1", "b1"))
    assert reading.notes[-1] == "2 tracklets hold 3 training images"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,train,1,t,1,", "line 2: give both start and end, or neither"),
        ("a,train,1,,1,2", "line 2: start and end are of a tracklet, and there is none"),
        ("a,train,1,t,soon,2", r"line 2: start must be a number \(seconds, frames\), got 'soon'"),
        ("a,train,1,t,1,inf", "line 2: end must be a number"),
        ("a,train,1,t,3,2", "line 2: start 3 is after end 2"),
        ("a,train,1,t,1,2\nb,train,2,t,1,2", "line 3: tracklet t is of two cameras"),
    ],
)
def test_tracklets_that_are_wrong_are_named_by_their_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(tmp_path, line + "\n")


def test_table_numbers_the_tracklets_of_its_test_half(tmp_path: Path) -> None:
    lines = ("a,train,x,1,t", "q,query,x,1,u", "g,gallery,x,1,u", "h,gallery,y,2,", "i,gallery,0,2,v")
    text = "".join(f"{line}\n" for line in ("path,split,pid,camid,tracklet", *lines))
    write_text(tmp_path / "images.csv", text)
    reading = csv_table.read(tmp_path, table="images.csv")
    assert reading.tracklets == {("query", "q"): 0, ("gallery", "g"): 0, ("gallery", "i"): 1}
    assert "3 tracklets hold 3 query and gallery images" in reading.notes
    for line, what in (("j,gallery,y,2,v", "identities"), ("j,gallery,0,1,v", "cameras")):
        write_text(tmp_path / "images.csv", f"{text}{line}\n")
        with pytest.raises(UserError, match=f"line 7: tracklet v is of two {what}, this one and that of line 6"):
            csv_table.read(tmp_path, table="images.csv")


def test_folder_finds_tracklets_in_paths(tmp_path: Path) -> None:
    for name in ("t1/a.jpg", "t1/b.jpg", "t2/c.jpg", "other.jpg", CORRECTIONS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    reading = image_folder.read(tmp_path, camera=None, tracklet=r"^(t\d+)/")
    assert reading.links == (Link("must_link", "t1/a.jpg", "t1/b.jpg"),) and reading.warnings == ()
    assert reading.notes == ("2 tracklets hold 3 images",)
    with pytest.raises(UserError, match="own.tracklet is not a regular expression"):
        image_folder.read(tmp_path, camera=None, tracklet="(")


def test_corrections_are_read(tmp_path: Path) -> None:
    write_text(tmp_path / CORRECTIONS, '\ufeffkind,path_a,path_b\nmust_link,a,b\n\ncannot_link ,b,"c,d"\n')
    expected = [Link("must_link", "a", "b"), Link("cannot_link", "b", "c,d")]
    assert read_corrections(tmp_path, ["a", "b", "c,d"]) == expected
    (tmp_path / CORRECTIONS).unlink()
    assert read_corrections(tmp_path, []) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line must begin with kind,path_a,path_b, got "),
        ("path_a,path_b\n", "its first line must begin with kind,path_a,path_b, got path_a,path_b"),
        ("kind,path_a,path_b\nsame,a,b\n", "line 2: kind must be one of must_link, cannot_link, outlier, got 'same'"),
        ("kind,path_a,path_b\nmust_link,a\n", "line 2 has 2 values, but there are 3 columns"),
        ("kind,path_a,path_b\nmust_link,a,b\nmust_link,a,x\n", "there is no image 'x' in the data set"),
        ('kind,path_a,path_b\nmust_link,"a,b\n', "is a quote missing"),
        ("kind,path_a,path_b\noutlier,a,b\n", "line 2: an outlier is one image: leave path_b empty, got 'b'"),
        ("kind,path_a,path_b\noutlier,x,\n", "there is no image 'x' in the data set"),
    ],
)
def test_corrections_that_are_wrong_are_named_by_their_line(tmp_path: Path, text: str, message: str) -> None:
    write_text(tmp_path / CORRECTIONS, text)
    with pytest.raises(UserError, match=message):
        read_corrections(tmp_path, ["a", "b"])


def test_contradictions_are_listed_and_stop(tmp_path: Path) -> None:
    listed = tmp_path / "data/contradictions.csv"
    links = [Link("must_link", "a", "b"), Link("must_link", "b", "=c"), Link("cannot_link", "a", "=c")]
    with pytest.raises(UserError, match=r"1 cannot-links are between images that .* join: a and =c; all are"):
        consistent_links(["a", "b", "=c"], links, table=listed)
    assert listed.read_text() == "kind,path_a,path_b\ncannot_link,a,'=c\n"
    found = consistent_links(["a", "b", "=c"], links[:2], table=listed)
    assert found is not None and found.num_groups == 1 and not listed.exists()
    assert consistent_links(["a"], links, table=listed) is None


def test_outlier_that_is_joined_is_a_contradiction(tmp_path: Path) -> None:
    listed = tmp_path / "contradictions.csv"
    links = [Link("must_link", "a", "b"), Link("outlier", "b", ""), Link("outlier", "c", ""), Link("outlier", "c", "")]
    with pytest.raises(UserError, match=r"1 outliers are images that must-links .* join: b and a; all are"):
        consistent_links("abc", links, table=listed)
    assert listed.read_text() == "kind,path_a,path_b\noutlier,b,a\n"
    found = consistent_links("abc", [*links[2:], Link("cannot_link", "a", "c")], table=listed)
    assert found is not None and found.outliers.tolist() == [2] and found.apart.tolist() == [[0, 2]]
    write_links(tmp_path, "abc", found)
    again = read_links(tmp_path, "abc")
    assert again is not None and again.outliers.tolist() == [2] and again.apart.tolist() == [[0, 2]]
    assert found.of_rows(np.array([1, 2])).outliers.tolist() == [1] and not listed.exists()


def test_prepared_folder_keeps_the_links_of_the_images_that_are_left(tmp_path: Path, write_image) -> None:
    source = tmp_path / "mine"
    for name in ("a.png", "b.png", "c.png", "d.png"):
        write_image(source / name)
    (source / "b.png").write_bytes(b"broken")
    links = "must_link,a.png,b.png\nmust_link,b.png,c.png\ncannot_link,b.png,d.png\n"
    write_text(source / CORRECTIONS, f"kind,path_a,path_b\n{links}")
    opened = open_dataset("folder", tmp_path, options=ReaderOptions(folder="mine"))
    paths = list(opened.catalogue["path"])
    known = consistent_links(paths, opened.links, table=tmp_path / "none.csv")
    summary = write_prepared_folder(
        opened.catalogue, source, tmp_path / "out", height=16, width=8, links=known, skip_bad=True
    )
    kept = read_links(tmp_path / "out", ["a.png", "c.png", "d.png"])
    assert kept is not None and kept.groups.tolist() == [0, 0, 1] and kept.apart.tolist() == [[0, 1]]
    assert summary["links"]["units"] == 2 and summary["links"]["apart"] == 1 and len(summary["links"]["digest"]) == 64


def test_links_of_test_images_are_told(tmp_path: Path) -> None:
    write_text(tmp_path / "mine/images.csv", "path,split\na.jpg,train\nb.jpg,query\nc.jpg,gallery\n")
    write_text(tmp_path / "mine" / CORRECTIONS, "kind,path_a,path_b\nmust_link,a.jpg,b.jpg\n")
    found = open_dataset("csv", tmp_path, options=ReaderOptions(folder="mine"))
    assert "1 links are of images that are not for training: they have no effect" in found.warnings
