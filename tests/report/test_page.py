"""The page: one file that asks for nothing, says everything in words too, and is never half written."""

import base64
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.page_address import page_address
from pipeline.evaluation.metrics import METRICS, Metric
from pipeline.report import (
    ClusterCount,
    ClusterSample,
    RankedImage,
    RankedList,
    ReportData,
    ResultRow,
    SplitSummary,
    figures,
    published_rows,
    write_report,
)
from pipeline.report import page as page_module
from pipeline.report.rendering import thumbnail
from tests.report.minimal import scores

VOID = {"meta", "link", "img", "br"}
EVIL = "<script>alert('x')</script> & \"quoted\" $a_b$"


class Page(HTMLParser):
    """Elements of a page with their attributes; asserts that every element is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements: list[Any] = []
        self.open: list[Any] = []
        self.text: list[Any] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self):
        return " ".join(" ".join(self.text).split())


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (64, 32, 3), dtype=np.uint8)


def report(**changes):
    verdicts = ("right", "wrong", "distractor")
    entries = tuple(RankedImage(picture(i), verdict, i, 2, 0.9 - i / 10) for i, verdict in enumerate(verdicts))
    values: dict[str, Any] = {
        "title": "synthetic · ResNet-18 · DCCC",
        "dataset": "synthetic",
        "backbone": "ResNet-18",
        "method": "DCCC",
        "settings": {"epochs": 4, "clustering": {"eps": 0.6, "k1": 15}, "sampler": {"cameras": True}},
        "splits": (
            SplitSummary("train", 1600, 100, 6),
            SplitSummary("query", 400, 100, 6),
            SplitSummary("gallery", 1260, 100, 6, distractors=60),
        ),
        "history": pd.DataFrame(
            {
                "epoch": [1, 2],
                "eps": [0.594, 0.588],
                "num_clusters": [110, 98],
                "num_outliers": [300, 110],
                "loss": [2.1, 1.4],
                "loss_hard": [2.0, 1.2],
                "loss_soft": [2.1, 1.4],
                "student_mAP": [np.nan, 0.5237],
            }
        ),
        "results": (
            ResultRow("Student", "result", scores(0.5237, 0.681, 0.852, 0.901)),
            ResultRow("Student, epoch 2", "best-of-run", scores(0.5391, 0.694, 0.861, 0.906)),
            ResultRow("Untrained network", "baseline", scores(0.1482, 0.302, 0.482, 0.571)),
        ),
        "cmc": {"Student": np.linspace(0.681, 0.99, 50)},
        "ranked_lists": (
            RankedList(picture(9), entries, 1, 3, 0.5, "best"),
            RankedList(picture(8), entries, 4, 3, 0.1, "worst"),
        ),
        "cluster_count": ClusterCount(95, 120),
        "num_queries": 400,
        "num_valid_queries": 388,
    }
    return ReportData(**(values | changes))


def written(folder, **changes):
    write_report(report(**changes), folder)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    written(folder)
    return folder


@pytest.fixture(scope="module")
def usual_page(usual):
    return Page((usual / "report.html").read_text(encoding="utf-8"))


def test_page_is_self_contained(usual, usual_page):
    for tag, attributes in usual_page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form"), tag
        for name in ("src", "href", "srcset", "poster", "data", "background"):
            value = attributes.get(name, "data:")
            assert value.startswith("data:") or (tag == "a" and value.startswith("#")), (tag, name, value[:60])
        assert not any(name.startswith("on") for name in attributes)
    style = (usual / "report.html").read_text().split("<style>")[1].split("</style>")[0]
    assert not re.search(r"url\(|@import|https?:", style + " ".join(a.get("style", "") for _, a in usual_page.elements))
    policy = [meta["content"] for meta in usual_page.all("meta") if "http-equiv" in meta]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_clusters_lead_to_the_page_that_corrects_them(tmp_path):
    clusters = (ClusterSample(7, 5, (picture(1),)), ClusterSample(None, 3, (picture(2),)))
    text = written(tmp_path, clusters=clusters)
    assert "run <code>python -m stages.browse</code> in the project" in text
    links = [a["href"] for a in Page(text).all("a") if not a["href"].startswith("#")]
    assert links == [page_address(), f"{page_address()}#cluster-7"]
    assert '#cluster-7">cluster 7, 5 images</a>' in text and "<figcaption>outliers, 3 images<" in text


def test_page_speaks_of_every_picture(usual_page):
    images = usual_page.all("img")
    assert len(images) == 3 + 1 + 2 * 4, "curves, CMC, two queries with three places each"
    assert all(image["alt"].strip() for image in images)
    assert "Rank 2: wrong, identity 1, camera 2, cosine 0.80" in [image["alt"] for image in images]
    for image in images:
        kind, content = image["src"].removeprefix("data:image/").split(";base64,")
        opened = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
        assert opened.format == kind.upper()
        assert opened.size == (int(image["width"]), int(image["height"]))


def test_page_can_be_walked_by_keyboard_and_screen_reader(usual_page):
    assert usual_page.all("html") == [{"lang": "en"}]
    assert usual_page.all("meta")[1]["content"] == "width=device-width, initial-scale=1"
    names = [attributes["id"] for _, attributes in usual_page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    targets = [a["href"].removeprefix("#") for a in usual_page.all("a")]
    labels = [a["aria-labelledby"] for a in usual_page.all("section")]
    assert set(targets + labels) <= set(names)
    assert all("scope" in heading for heading in usual_page.all("th"))
    assert all(
        a.get("tabindex") == "0" and a.get("aria-label") for _, a in usual_page.elements if a.get("class") == "scroll"
    )
    headings = [int(tag[1]) for tag, _ in usual_page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def test_page_writes_percent_with_one_decimal(usual_page):
    words = usual_page.words()
    assert "Student 52.4 68.1 85.2 90.1" in words
    assert "Untrained network 14.8 30.2 48.2 57.1" in words
    told = "mAP student after epoch 2 52.4% Rank-1 student after epoch 2 68.1%"
    assert f"{told} points of mAP above the 14.8% of the untrained network +37.6" in words
    assert "mINP 52" not in words and "Rank-10 Result" in words, "no column for what no row has"
    assert "12 of 400 queries have no valid match and are left out." in words


def test_page_counts_the_clusters_of_the_last_student_and_names_the_epoch(tmp_path):
    made = ("2026-01-31 12:00 UTC", "trained in 2.0 minutes", "revision 1a2b3c4d5e", "CPU, 1 process, 2 threads")
    clusters = (ClusterSample(7, 5, (picture(1),)),)
    words = Page(written(tmp_path, made=made, clusters=clusters)).words()
    assert "clusters by the student after epoch 2; in truth 100 identities 95" in words
    assert "groups them into 95 clusters and leaves 120 images (7.5%) in none" in words
    assert "as the last student groups them, in 95 clusters" in words
    assert words.index(" · ".join(made)) < words.index("Learning curves")


def test_page_sets_the_last_epoch_apart_from_the_best_of_the_run(usual_page):
    words = usual_page.words()
    order = ["Result: the last epoch of this run", "Best evaluation of the run", "Baselines without training"]
    assert sorted(order, key=words.index) == order
    assert "Choosing it looks at the test set, so it is not the result." in words
    assert "Published" not in words


def test_page_shows_settings_data_and_epochs(usual_page):
    words = usual_page.words()
    assert "clustering.eps" not in words and "clustering eps 0.6 k1 15" in words
    assert "sampler cameras true" in words
    assert "gallery 1,260 100 6 60" in words
    assert "1 0.594 110 300 2.100 2.000 2.100 – 2 0.588 98 110 1.400 1.200 1.400 52.4" in words


def test_page_escapes_every_name(tmp_path):
    entry = RankedImage(picture(1), "right", 1, 1)
    text = written(
        tmp_path,
        title=EVIL,
        dataset=EVIL,
        backbone=EVIL,
        method=EVIL,
        settings={EVIL: EVIL, "section" + EVIL: {EVIL: [EVIL]}},
        splits=(SplitSummary(EVIL, 1, 1, 1),),
        results=(ResultRow(EVIL, "result", scores(0.5)), ResultRow(EVIL, "baseline", scores(0.4))),
        cmc={EVIL: np.linspace(0.1, 0.9, 50)},
        ranked_lists=(RankedList(picture(2), (entry,), 1, 1, 0.5, EVIL),),
        notes=(EVIL,),
        provenance={EVIL: EVIL},
    )
    assert "<script" not in text
    page = Page(text)
    assert not page.all("script")
    assert page.words().count(EVIL) >= 15
    assert any(EVIL in image["alt"] for image in page.all("img")), "quotes in an alternative text end nothing"


def test_page_takes_long_names(tmp_path):
    long = "a_very_long_name_without_a_space_" * 10
    text = written(
        tmp_path, title=long, dataset=long, results=(ResultRow(long, "result", scores(0.5)),), cmc={long: [0.1, 0.2]}
    )
    assert long in Page(text).words()


def test_page_shows_published_figures_beside_the_papers_data(tmp_path):
    sizes = {"train": 12936, "query": 3368, "gallery": 15913}
    splits = tuple(SplitSummary(name, size, None, None) for name, size in sizes.items())
    rows = (*report().results, *published_rows("market1501", splits))
    words = Page(written(tmp_path, dataset="market1501", splits=splits, results=rows, ranked_lists=())).words()
    assert "DCCC (paper) 86.6 94.1 98.0 98.9" in words
    assert "SpCL 73.1 88.1 – –" in words
    assert "not shown" not in words


def test_page_says_why_published_figures_are_missing(tmp_path):
    words = Page(written(tmp_path, dataset="market1501", ranked_lists=())).words()
    assert "The published figures for market1501 are not shown" in words
    assert "this run read 1,600 / 400 / 1,260." in words


@pytest.mark.parametrize(
    "changes",
    [
        {"results": (), "cmc": {}, "ranked_lists": (), "num_queries": 0, "num_valid_queries": 0},
        {"history": pd.DataFrame({"epoch": [1], "loss": [2.0], "student_mAP": [np.nan]})},
        {"history": pd.DataFrame({"epoch": []})},
        {"splits": (), "settings": {}, "results": (ResultRow("Student", "result"),)},
    ],
    ids=["no evaluation", "one epoch, no mAP", "no epoch", "nothing known"],
)
def test_page_takes_what_is_missing(changes, tmp_path):
    text = written(tmp_path, **({"ranked_lists": ()} | changes))
    page = Page(text)
    assert "nan" not in page.words().lower().split()
    assert "None" not in page.words()
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert len(page.all("img")) == len(figures)
    if "results" in changes and not changes["results"]:
        assert "The network was not evaluated." in page.words()
        assert figures == ["clusters.png", "loss.png", "map.png"]


def test_figures_are_written_as_files(usual):
    names = ["clusters", "cmc", "loss", "map", "ranked_lists"]
    assert sorted(path.name for path in usual.iterdir()) == ["figures", "report.html"]
    assert sorted(path.stem for path in (usual / "figures").iterdir()) == names
    for path in (usual / "figures").iterdir():
        with Image.open(path) as image:
            assert min(image.size) >= 300
    assert (usual / "report.html").stat().st_size < 1_500_000


def test_report_is_the_same_every_time(usual, tmp_path):
    written(tmp_path)
    for path in [Path("report.html"), *(file.relative_to(usual) for file in (usual / "figures").iterdir())]:
        assert (tmp_path / path).read_bytes() == (usual / path).read_bytes(), path


def test_report_replaces_figures_that_it_does_not_have(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "stale.png").write_bytes(b"")
    written(tmp_path, cmc={}, ranked_lists=())
    assert not (tmp_path / "figures" / "stale.png").exists()


@pytest.mark.parametrize("where", ["drawing", "rendering", "figures"])
def test_a_failure_leaves_the_previous_report(where, tmp_path, monkeypatch):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "map.png").write_bytes(b"before")
    (tmp_path / "report.html").write_text("before")

    def fail(*_args):
        raise OSError("disk full")

    if where == "drawing":
        monkeypatch.setattr(figures, "FIGURES", (fail,))
    elif where == "rendering":
        monkeypatch.setattr(page_module, "render", fail)
    else:
        monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        written(tmp_path, ranked_lists=())
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"figures", "report.html"}
    assert (tmp_path / "report.html").read_text() == "before"
    assert [path.read_bytes() for path in (tmp_path / "figures").iterdir()] == [b"before"]


def test_thumbnails_shrink_and_never_grow():
    large = thumbnail(np.zeros((512, 256, 3), np.uint8))
    small = thumbnail(np.zeros((64, 32, 3), np.uint8))
    wide = thumbnail(np.zeros((100, 1000, 3), np.uint8))
    assert [(one["width"], one["height"]) for one in (large, small, wide)] == [(72, 144), (32, 64), (192, 19)]


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("text", ["ink", "soft", "accent", "right", "wrong", "other"])
@pytest.mark.parametrize("ground", ["paper", "back"])
@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_page_text_stands_out_from_its_ground(usual, text, ground, scheme):
    style = (usual / "report.html").read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    light, rest = style.split("@media (prefers-color-scheme: dark)")
    dark, printed = rest.split("@media print")
    colours: dict[str, str] = {}
    for part in {"light": [light], "dark": [light, dark], "print": [light, printed]}[scheme]:
        colours |= dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", part))
    dark, light = sorted((luminance(colours[text]), luminance(colours[ground])))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_page_has_a_column_for_every_metric_that_a_row_has(tmp_path, monkeypatch):
    rank20 = Metric("rank20", "Rank-20", "Share among 20.", lambda scores: scores.cmc[20], rank=20)
    monkeypatch.setitem(METRICS, "rank20", rank20)
    words = Page(written(tmp_path, results=(ResultRow("Student", "result", {"mAP": 0.5, "rank20": 0.9876}),))).words()
    assert "Network mAP Rank-20" in words and "Student 50.0 98.8" in words and "Rank-20 Share among 20." in words


def test_page_replaces_what_controls_terminals_and_writing(tmp_path):
    name = "a\x1b[31mb\x9bc\x7fd\u202ee"
    text = written(tmp_path, title=name, results=(ResultRow(name, "result", scores(0.5)),), cmc={name: [0.1, 0.2]})
    assert not set("\x1b\x9b\x7f\u202e") & set(text) and "a\ufffd[31mb\ufffdc\ufffdd\ufffde" in text


def test_figures_take_names_in_any_script(tmp_path):
    assert "猫🐈" in written(tmp_path, cmc={"猫🐈": [0.1, 0.2]})
