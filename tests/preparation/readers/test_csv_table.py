"""One's own images in a table: what may stand in it, what becomes of names, and which line a message means."""

import csv
import io
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import validate
from pipeline.datasets.names import Names
from pipeline.preparation.readers import csv_table
from pipeline.preparation.readers.layout import Reading

TOY = """path,split,pid,camid
monday/0001.jpg,train,,gate
tuesday/0007.jpg,query,anna,gate
tuesday/0031.jpg,gallery,anna,yard
tuesday/0032.jpg,gallery,bo,yard
"""
TOY_ROWS = [
    ("monday/0001.jpg", None, 1, "train"),
    ("tuesday/0007.jpg", 1, 1, "query"),
    ("tuesday/0031.jpg", 1, 2, "gallery"),
    ("tuesday/0032.jpg", 2, 2, "gallery"),
]


def read(folder: Path, text: str | bytes) -> Reading:
    (folder / "images.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return csv_table.read(folder, table="images.csv")


def rows(reading: Reading) -> list[tuple[Any, ...]]:
    catalogue = validate(reading.catalogue)
    return list(catalogue.astype(object).where(catalogue.notna(), None).itertuples(index=False, name=None))


def lines(*given: str, header: str = "path,split,pid,camid") -> str:
    return "\n".join((header, *given)) + "\n"


def refused(folder: Path, text: str | bytes, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value) and str(folder / "images.csv") in str(caught.value)


def test_csv_toy(tmp_path: Path) -> None:
    reading = read(tmp_path, TOY)
    assert rows(reading) == TOY_ROWS
    assert reading.warnings == ()
    assert reading.notes == (
        "2 identities were numbered in sorted order: 1 = anna, 2 = bo",
        "2 cameras were numbered in sorted order: 1 = gate, 2 = yard",
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: "\n\n" + text.replace("\n", "\n\n"),
        lambda text: text + ",,,\n , ,,\n",
        lambda text: text.removesuffix("\n"),
        lambda text: "\n".join(",".join(f'"{value}"' for value in line.split(",")) for line in text.splitlines()),
        lambda text: text.replace("path,split,pid,camid", " path , split,pid ,camid"),
        lambda text: text.replace(",gate", ", gate ").replace("query", " query"),
        lambda text: "\n".join(",".join(line.split(",")[::-1]) for line in text.splitlines()),
        lambda text: "".join([text.splitlines(True)[0], *text.splitlines(True)[:0:-1]]),
    ],
)
def test_csv_may_be_written_in_many_ways(tmp_path: Path, change: Any) -> None:
    assert rows(read(tmp_path, change(TOY))) == TOY_ROWS


def test_csv_without_identities_and_cameras(tmp_path: Path) -> None:
    text = "split,path\ntrain,a.jpg\nquery,b.jpg\ngallery,c.jpg\n"
    reading = read(tmp_path, text)
    expected = [("a.jpg", None, None, "train"), ("b.jpg", None, None, "query"), ("c.jpg", None, None, "gallery")]
    assert rows(reading) == expected and reading.notes == ()
    assert rows(read(tmp_path, "split,path,pid,camid\ntrain,a.jpg,,\nquery,b.jpg,,\ngallery,c.jpg,,\n")) == expected


def test_csv_whole_numbers_stay_what_they_are(tmp_path: Path) -> None:
    text = lines("a.jpg,train,0012,3", "b.jpg,query,7.0,03", "c.jpg,gallery,7,4.00", "d.jpg,gallery,0,5")
    reading = read(tmp_path, text)
    assert rows(reading) == [
        ("a.jpg", 12, 3, "train"),
        ("b.jpg", 7, 3, "query"),
        ("c.jpg", 7, 4, "gallery"),
        ("d.jpg", 0, 5, "gallery"),
    ]
    assert reading.notes == ()


def test_csv_names_of_training_and_test_are_numbered_together(tmp_path: Path) -> None:
    text = lines(
        "a.jpg,train,zoe,1", "b.jpg,query,10,1", "c.jpg,gallery,10,2", "d.jpg,gallery,9,2", "e.jpg,gallery,0,2"
    )
    reading = read(tmp_path, text)
    assert [row[1] for row in rows(reading)] == [3, 1, 1, 2, 0]  # a distractor stays one
    assert reading.notes == ("3 identities were numbered in sorted order: 1 = 10, 2 = 9, 3 = zoe",)
    assert reading.names == Names(identities={1: "10", 2: "9", 3: "zoe"})


def test_csv_leaves_out_junk_with_a_note(tmp_path: Path) -> None:
    text = lines("a.jpg,train,1,1", "j.jpg,train,-1,1", "b.jpg,query,1,1", "c.jpg,gallery,1,2", "k.jpg,gallery,-1.0,2")
    reading = read(tmp_path, text)
    assert [row[0] for row in rows(reading)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert reading.notes == (f"{tmp_path / 'images.csv'}: left out as junk (pid -1): 1 train, 1 gallery",)
    refused(tmp_path, lines("j.jpg,train,-1,1"), r"names no images, only junk \(pid -1\)")


def test_csv_warns_of_columns_that_it_does_not_use(tmp_path: Path) -> None:
    reading = read(tmp_path, lines("a.jpg,train,1,,y", header="path,split,PID,,remark"))
    assert rows(reading) == [("a.jpg", None, None, "train")]
    assert reading.warnings == (
        f"{tmp_path / 'images.csv'}: these columns are not used: PID, one without a name, remark",
    )


def test_csv_image_may_be_in_two_splits_but_not_twice_in_one(tmp_path: Path) -> None:
    assert len(rows(read(tmp_path, lines("a.jpg,query,1,1", "a.jpg,gallery,1,1")))) == 2
    refused(
        tmp_path,
        lines("a.jpg,query,1,1", "a.jpg,gallery,1,1", "b.jpg,query,1,1", "a.jpg,query,2,1"),
        r"line 5: a\.jpg is a query image in line 2 already",
    )


@pytest.mark.parametrize("split", ["test", "Train", "", "val"])
def test_csv_split_must_be_known(tmp_path: Path, split: str) -> None:
    refused(
        tmp_path,
        lines("a.jpg,train,1,1", f"b.jpg,{split},1,1"),
        rf"line 3: split must be one of train, query, gallery, got '{split}'",
    )


@pytest.mark.parametrize(
    "path", ["", "/a.jpg", "../a.jpg", "b/../a.jpg", "b\\a.jpg", "./a.jpg", "b//a.jpg", "b/", "a\t.jpg"]
)
def test_csv_path_must_be_relative_and_posix(tmp_path: Path, path: str) -> None:
    refused(tmp_path, lines("ok.jpg,train,1,1", f"{path},train,1,1"), r"line 3: path must be relative, .* and control")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["a.jpg,train,1,1", "b.jpg,train,,1", "c.jpg,train,,1"],
            r"line 3 \(b\.jpg\) has no pid, but other train images",
        ),
        (["a.jpg,query,,1", "b.jpg,gallery,1,1"], r"line 2 \(a\.jpg\) has no pid, but other query and gallery images"),
        (["a.jpg,train,1,", "b.jpg,train,2,1"], r"line 2 \(a\.jpg\) has no camid, but .* none \(1 have none\)"),
        (["a.jpg,query,1,1", "b.jpg,gallery,1,"], r"line 3 \(b\.jpg\) has no camid"),
        (["a.jpg,train,-2,1"], r"line 2: pid must be 0 or more, or -1 for junk, got -2"),
        (["a.jpg,train,anna,1", "b.jpg,train,-7,1"], r"line 3: pid must be 0 or more, or -1 for junk, got -7"),
        (["a.jpg,train,1,-1"], r"line 2: camid must be 0 or more, got -1"),
        (["a.jpg,train,1"], r"line 2 has 3 values, but there are 4 columns"),
        (["a.jpg,train,1,1,1"], r"line 2 has 5 values, but there are 4 columns"),
        (['"a.jpg,train,1,1', "b.jpg,train,1,1"], r"line 2: unexpected end of data \(is a quote missing\?\)"),
        (['"a"b.jpg,train,1,1'], r"line 2: .* expected after '\"' \(is a quote missing\?\)"),
        ([], r"names no images$"),
    ],
)
def test_csv_names_the_line_that_is_wrong(tmp_path: Path, given: list[str], message: str) -> None:
    refused(tmp_path, lines(*given), message)


def test_csv_counts_lines_as_an_editor_does(tmp_path: Path) -> None:
    text = 'path,split,remark\n\na.jpg,train,"three\nlines\nlong"\n\nb.jpg,nowhere,x\n'
    assert text.splitlines().index("b.jpg,nowhere,x") + 1 == 7
    refused(tmp_path, text, r"line 7: split must be")
    refused(tmp_path, text.replace("\n", "\r\n"), r"line 7: split must be")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"images\.csv is empty: its first line must name the columns path, split"),
        ("\n \n", r"images\.csv is empty"),
        ("file,split\na.jpg,train\n", r"its first line must name the columns path, split, got file, split"),
        ("path|split\na.jpg|train\n", r"its first line must name the columns path, split, got path\|split"),
        ("a.jpg,train\n", r"its first line must name the columns path, split, got a\.jpg, train"),
        ("path,split,pid,pid\na.jpg,train,1,2\n", r"there are two columns pid"),
        (TOY.encode("utf-16"), r"is not a text file in UTF-8: .* \(save it as CSV UTF-8\)"),
        ("path,split\nsüd.jpg,train\n".encode("latin-1"), r"is not a text file in UTF-8"),
        (b"path,split\na\0.jpg,train\n", r"line 2: path must be relative"),
        ("path,split\n" + "a" * 200_000 + ",train\n", r"line 2: field larger than field limit"),
    ],
)
def test_csv_says_why_it_is_no_table(tmp_path: Path, text: str | bytes, message: str) -> None:
    refused(tmp_path, text, message)


def test_csv_says_where_the_table_should_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"images\.csv is missing: put your images and their table there .*own\.table"):
        csv_table.read(tmp_path, table="images.csv")


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=["Cc"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)
LABELS = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=4).map(str.strip).filter(bool)
)


def numbers_by_hand(labels: list[str]) -> dict[str, int]:
    """A naive rule for labels without signs and dots: their own numbers, or else their place when sorted; 0 stays 0."""
    digits = set("0123456789")
    if all(set(label) <= digits for label in labels):
        return {label: int(label) for label in labels}
    zeros = {label for label in labels if set(label) == {"0"}}
    places: dict[str, Any] = {}
    for label in sorted(set(labels) - zeros):
        places[label] = len(places) + 1
    return {**places, **dict.fromkeys(zeros, 0)}


@settings(deadline=None, max_examples=60)
@given(
    images=st.lists(
        st.tuples(PATHS, st.sampled_from(["train", "query", "gallery"]), LABELS),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row[:2],
    ),
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
@example(images=[("a.jpg", "train", "0"), ("b.jpg", "train", "x")], delimiter=",", quoting=csv.QUOTE_MINIMAL, end="\n")
def test_csv_returns_what_a_spreadsheet_writes(
    images: list[tuple[str, str, str]], delimiter: str, quoting: Any, end: str
) -> None:
    images = [row for row in images if not row[2].lstrip().startswith("-") and "." not in row[2]]
    images = [row for row in images if row[2].lower() not in csv_table.UNKNOWN]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([("path", "split", "pid"), *images])
    with tempfile.TemporaryDirectory() as folder:
        if not images:
            refused(Path(folder), text.getvalue(), "names no images")
            return
        found = rows(read(Path(folder), text.getvalue()))
    numbers = numbers_by_hand([label for *_, label in images])
    assert {(path, split, pid) for path, pid, _, split in found} == {
        (path, split, numbers[label]) for path, split, label in images
    }


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_csv_mutated_is_read_or_refused_in_one_line(data: st.DataObject) -> None:
    table = bytearray(TOY.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(table)))
        table[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\n", b",", b"\t", b"-1", b"\r", b"\xff", b"\0"])
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            reading = read(Path(folder), bytes(table))
        except UserError as error:
            assert "\n" not in str(error) and "images.csv" in str(error)
        else:
            assert isinstance(validate(reading.catalogue), pd.DataFrame)


def test_words_for_unknown_are_counted_once(tmp_path: Path) -> None:
    given = ["a.jpg,train,nan,1", "b.jpg,train,NaN,1", "c.jpg,train,,1", "d.jpg,query,anna,1", "e.jpg,gallery,anna,2"]
    reading = read(tmp_path, lines(*given))
    assert reading.catalogue["pid"].isna().tolist() == [True] * 3 + [False] * 2
    assert [note.partition("images.csv: ")[2] for note in reading.notes if "unknown" in note] == [
        "column pid: taken for unknown: 1 NaN, 1 nan"
    ]


def test_unknown_identities_among_known_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 3 \(e\.jpg\) has no pid, but other query and gallery images have one"):
        read(tmp_path, lines("d.jpg,query,anna,1", "e.jpg,gallery,NULL,2"))


@pytest.mark.parametrize("other", ["2", "anna"])
def test_zeros_before_a_number_make_no_other_identity(tmp_path: Path, other: str) -> None:
    given = ["a.jpg,query,1,1", "b.jpg,gallery,01,2", "c.jpg,gallery,1.0,2", f"d.jpg,gallery,{other},2"]
    pids = read(tmp_path, lines(*given)).catalogue["pid"].tolist()
    assert len(set(pids[:3])) == 1 and pids[3] != pids[0]


def test_distractors_among_the_queries_are_told(tmp_path: Path) -> None:
    given = ["a.jpg,query,0,1", "b.jpg,query,1,1", "c.jpg,gallery,1,2"]
    (warning,) = read(tmp_path, lines(*given)).warnings
    assert warning.endswith("1 query images have pid 0, which matches nothing: they are not scored")


def test_names_of_another_unicode_form_or_case_of_extension_are_found(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Füchsin.jpg") for form in ("NFC", "NFD"))
    (tmp_path / "den").mkdir()
    for name in (f"den/{apart}", "UP.JPG", "two.jpg", "two.JPG"):
        (tmp_path / name).touch()
    given = [f"den/{composed},train,,", "UP.jpg,train,,", "two.Jpg,train,,", "lost.jpg,train,,", "two.jpg,train,,"]
    reading = read(tmp_path, lines(*given))
    assert set(reading.catalogue["path"]) == {f"den/{apart}", "UP.JPG", "two.Jpg", "lost.jpg", "two.jpg"}
    (note,) = reading.notes
    assert "2 paths differ from their files in Unicode form or case of extension: line 2 (den/" in note
