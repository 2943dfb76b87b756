"""What a search found, for the terminal, for programs and for the eye."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.search import sheets
from pipeline.search.queries import Found, Hit
from pipeline.search.sheets import lists_text, search_sheets, write_search

SIZE: dict[str, Any] = {"height": 64, "width": 32}


@pytest.fixture
def crops(tmp_path):
    """Red, green and blue crops; paths as text."""
    places = {}
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        places[name] = str(tmp_path / f"{name}.png")
        Image.new("RGB", (20, 40), colour).save(places[name])
    return places


def found(crops, query="red", hits=("green", "blue"), own=(), name=None):
    listed = tuple(Hit(f"{hit}.png", crops[hit], 0.9 - 0.1 * rank) for rank, hit in enumerate(hits))
    return Found(name or f"people/{query}.png", crops[query], own, listed)


def test_picture_keeps_the_shape_of_its_file(crops, tmp_path):
    Image.new("RGB", (90, 30), (255, 0, 0)).save(crops["red"])
    place = sheets._read(crops["red"], height=320, width=160)
    assert place.shape == (53, 160, 3)


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)


def test_told_is_a_ranked_table(crops):
    assert lists_text([found(crops), found(crops, query="blue", hits=["red"], own=("blue.png", "b.png"))]) == (
        "people/red.png\n"
        "  rank  similarity  path\n"
        "     1      0.9000  green.png\n"
        "     2      0.8000  blue.png\n"
        "\n"
        "people/blue.png (left out of its own list: blue.png, b.png)\n"
        "  rank  similarity  path\n"
        "     1      0.9000  red.png"
    )


def test_told_says_that_there_is_nothing_else(crops):
    assert lists_text([found(crops, hits=(), own=("red.png",))]).endswith("\n  there is no other image in the gallery")


def test_told_shows_a_strange_name_on_one_line(crops):
    assert lists_text([found(crops, name="a\nb.png")]).splitlines()[0] == "'a\\nb.png'"


STRANGE = ("\x9b31mred", "a\x7fb", "\u202egpj.exe", "\x1b]0;title\x07", "a\r\nb", "\u2028", "\udc9b")


@pytest.mark.parametrize("name", STRANGE)
def test_names_with_control_characters_reach_neither_terminal_nor_table(crops, tmp_path, name):
    hit = Hit(name, crops["green"], 0.9)
    lists = [Found(name, crops["red"], (name,), (hit,))]
    assert lists_text(lists).replace("\n", "").isprintable()
    write_search(lists, tmp_path / "out", **SIZE, bad=[(name, "an empty file")])
    for table in ("search.csv", "bad_images.csv"):
        text = (tmp_path / "out" / table).read_text()
        assert text.replace("\n", "").isprintable() and text.count("\n") == 2


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(...)"])
def test_names_that_a_spreadsheet_takes_for_formulas_are_quoted_in_tables(crops, tmp_path, name):
    lists = [Found(name, crops["red"], (), (Hit(name, crops["green"], 0.9),))]
    write_search(lists, tmp_path, **SIZE, bad=[(name, "an empty file")])
    table = pd.read_csv(tmp_path / "search.csv")
    assert table["query"][0] == table["path"][0] == f"'{name}"
    assert pd.read_csv(tmp_path / "bad_images.csv")["path"][0] == f"'{name}"


def test_sheet_shows_query_and_hits_in_order(crops):
    (sheet,) = search_sheets([found(crops)], **SIZE)
    assert sheet.name == "search"
    assert sheet.alt == "1 query with up to 2 images of the gallery, the most similar first."
    picture = pixels(sheet)
    across = [np.median(np.nonzero(picture[:, :, channel] - picture.sum(2) / 3 > 150)[1]) for channel in range(3)]
    assert across == sorted(across)  # red, the query, then green, then blue
    down = np.nonzero((picture[:, :, 0] > 250) & (picture[:, :, 1] < 5))
    assert np.ptp(down[0]) == pytest.approx(2 * np.ptp(down[1]), rel=0.1)  # as high and wide as the network's images


def test_sheets_are_pages_of_a_few_queries_and_places(crops, monkeypatch):
    monkeypatch.setattr(sheets, "LISTS", 2)
    monkeypatch.setattr(sheets, "SHOWN", 5)
    monkeypatch.setattr(sheets, "PLACES", 3)
    lists = [found(crops, hits=["green"] * 7)] * 8
    pages = list(search_sheets(lists, **SIZE))
    assert [sheet.name for sheet in pages] == ["search", "search-2", "search-3"]
    assert [sheet.alt.split(" with")[0] for sheet in pages] == ["2 queries", "2 queries", "1 query"]
    assert all("up to 3 images" in sheet.alt for sheet in pages)
    assert lists_text(lists).count("people/red.png") == 5


def test_sheet_of_wide_images_and_of_an_empty_list(crops):
    (wide,) = search_sheets([found(crops), found(crops, hits=())], height=32, width=64)
    (tall,) = search_sheets([found(crops), found(crops, hits=())], **SIZE)
    assert pixels(wide).shape[0] < pixels(tall).shape[0]


def test_sheet_takes_names_of_any_script_and_length(crops):
    names = ("人/写真.png", "$x^2$ {a} <b>.png", "long/" * 60 + "a.png", "a\nb.png")
    (sheet,) = search_sheets([found(crops, name=name) for name in names], **SIZE)
    assert pixels(sheet)[:, -3:].min() == 255  # nothing runs out of the picture


def test_written_table_has_every_hit(crops, tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "SHOWN", 1)
    lists = [found(crops), found(crops, query="blue", hits=["red"])]
    assert write_search(lists, tmp_path / "new/out", **SIZE) == ["search.csv", "search.png"]
    table = pd.read_csv(tmp_path / "new/out/search.csv")
    assert table.columns.tolist() == ["query", "rank", "path", "similarity", "verdict"]
    assert table.drop(columns="verdict").to_numpy().tolist() == [
        ["people/red.png", 1, "green.png", 0.9],
        ["people/red.png", 2, "blue.png", 0.8],
        ["people/blue.png", 1, "red.png", 0.9],
    ]


def test_written_files_replace_those_of_an_earlier_search_and_no_others(crops, tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "LISTS", 1)
    (tmp_path / "search-old.png").write_bytes(b"mine")
    names = write_search([found(crops)] * 3, tmp_path, **SIZE, bad=[("x.png", "an empty file")])
    assert names == ["bad_images.csv", "search-2.png", "search-3.png", "search.csv", "search.png"]
    assert (tmp_path / "bad_images.csv").read_text() == "path,reason\nx.png,an empty file\n"
    write_search([found(crops)] * 2, tmp_path, **SIZE)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"search-old.png", "search-2.png", "search.csv", "search.png", "red.png", "green.png", "blue.png"}


def test_image_that_has_gone_stops_before_anything_is_written(crops, tmp_path):
    Path(crops["blue"]).unlink()
    with pytest.raises(UserError, match=r"blue.png cannot be read any more: no such file \(search again\)"):
        write_search([found(crops)], tmp_path / "out", **SIZE)
    assert not (tmp_path / "out").exists()


def test_verdicts_stand_beside_the_hits(crops, tmp_path):
    hits = Hit("green.png", crops["green"], 0.9, "same"), Hit("blue.png", crops["blue"], 0.9, "unsure")
    known = Found("red.png", crops["red"], (), hits)
    stranger = Found("new.png", crops["red"], (), (Hit("green.png", crops["green"], 0.1, "different"),))
    assert not known.is_stranger and stranger.is_stranger
    assert lists_text([known, stranger]) == (
        "red.png\n"
        "  rank  similarity  verdict    path\n"
        "     1      0.9000  same       green.png\n"
        "     2      0.9000  unsure     blue.png\n"
        "\n"
        "new.png: not in the gallery\n"
        "  rank  similarity  verdict    path\n"
        "     1      0.1000  different  green.png"
    )
    write_search([known, stranger], tmp_path, **SIZE)
    assert pd.read_csv(tmp_path / "search.csv")["verdict"].tolist() == ["same", "unsure", "different"]
