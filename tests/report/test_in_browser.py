"""The written page in a real browser: nothing missing, nothing asked for, nothing wider than a phone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.report import (
    ClusterSample,
    ConfusedPair,
    EmbeddingMap,
    RankedImage,
    RankedList,
    ReportData,
    ResultRow,
    SplitSummary,
    write_report,
)
from tests.browser import Browser
from tests.report.minimal import scores


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def everything(**changes: object) -> ReportData:
    """A report with all that a report can show."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
    epochs = np.arange(1, 6)
    columns = (
        "eps",
        "learning_rate",
        "loss",
        "loss_hard",
        "loss_soft",
        "student_mAP",
        "teacher_mAP",
        "ari",
        "ami",
        "purity",
        "pairwise_precision",
        "pairwise_recall",
        "pairwise_f",
        "distance_within",
        "distance_between",
        "seconds",
        "seconds_extract",
        "seconds_train",
        "images_per_second",
    )
    history = pd.DataFrame({"epoch": epochs, "num_clusters": 90 + epochs, "num_outliers": 50 - epochs})
    history = history.assign(**{name: rng.uniform(0.1, 0.9, 5) for name in columns})
    pairs = [(a, b, 5, 0.1 * a + 0.05 * b) for a in range(1, 7) for b in range(1, 7) if a != b]
    labels = np.repeat(np.arange(20), 5)
    points = rng.uniform(-1, 1, (100, 2))
    entries = tuple(RankedImage(image, verdict, 12345, 6, 0.5) for verdict in ("right", "wrong", "distractor") * 3)
    groups = ("best", "median", "worst")
    values: dict[str, object] = {
        "title": "synthetic dccc resnet10_w32 seed 1",
        "dataset": "synthetic",
        "backbone": "resnet10_w32",
        "method": "DCCC",
        "settings": {"dataset": "synthetic", "clustering": {"eps": 0.6, "eps_schedule": "expo"}},
        "splits": tuple(SplitSummary(name, 1200, 100, 6, 60) for name in ("train", "query", "gallery")),
        "history": history,
        "results": (
            ResultRow("Student", "result", scores(0.5, 0.6, 0.7, 0.8, 0.1)),
            ResultRow("Teacher", "result", scores(0.4, 0.5, 0.6, 0.7)),
            ResultRow(
                "Untrained network (random weights)",
                "baseline",
                scores(0.1, 0.2, 0.3, 0.4),
            ),
        ),
        "cmc": {"Student": np.linspace(0.6, 1, 50), "Untrained network (random weights)": np.linspace(0.2, 0.8, 50)},
        "ranked_lists": tuple(RankedList(image, entries, 12345, 6, 0.5, group) for group in groups),
        "tables": {"camera_pairs": pd.DataFrame(pairs, columns=["query_camera", "gallery_camera", "queries", "rank1"])},
        "confused": tuple(ConfusedPair(n, n + 1, 9, ((image, image, 0.5),) * 3) for n in range(1, 9)),
        "embedding": EmbeddingMap(points, labels, labels == 0, "identity", {0: image, 50: image}, total=2520),
        "clusters": (ClusterSample(0, 30, (image,) * 10), ClusterSample(None, 4, (image,) * 4)),
        "num_queries": 400,
        "num_valid_queries": 390,
        "provenance": {"MLflow run": "0123456789abcdef" * 2},
    }
    return ReportData(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(everything(), folder)
    return folder / "report.html"


@pytest.mark.parametrize("width", [320, 360, 768, 1200])
def test_report_is_sound_in_a_browser_of_any_width(browser: Browser, page: Path, width: int) -> None:
    seen = browser.open(page, width=width)
    seen.require_sound()
    assert seen.width == width and seen.images > 60


@pytest.mark.parametrize("width", [360, 1200])
def test_images_open_large_by_a_key_and_close_again(browser: Browser, page: Path, width: int) -> None:
    tab = browser.visit(page.as_uri(), width=width)
    for name in ("figure-embedding_map", "figure-loss", "list-1-1", "couples-1", "cluster-1"):
        opened = f"document.getElementById('{name}').matches(':popover-open')"
        image = f"document.querySelector('#{name} img').getBoundingClientRect().width"
        before = tab.evaluate(image)
        tab.evaluate(f"document.querySelector('#{name} .enlarge').focus()")
        tab.key("Enter")
        assert tab.evaluate(opened) and tab.evaluate(image) > 1.1 * before, name
        tab.key("Escape")
        assert not tab.evaluate(opened) and tab.evaluate(image) == before, name
        assert tab.evaluate("document.activeElement.className") == "enlarge"
    assert tab.messages == []
    tab.close()


def test_report_says_everything_in_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    wanted = [
        "Result",
        "Learning curves",
        "Ranking",
        "Ranked lists",
        "Where it fails",
        "Map of the embedding",
        "Clusters",
        "Data",
        "Settings",
    ]
    places = [text.index(f">{title}</h2>") for title in wanted]
    assert places == sorted(places)
    assert "The hardest queries: lowest average precision" in text and "identities 1 and 2: 9 times" in text
    assert text.count("worst") == 0, "the group has its own words"
    assert {path.stem for path in (page.parent / "figures").iterdir()} == {
        "map",
        "loss",
        "clusters",
        "distances",
        "cluster_quality",
        "learning_rate",
        "time",
        "cmc",
        "camera_pairs",
        "ranked_lists",
        "confused_pairs",
        "embedding_map",
        "cluster_sheet",
    }


def test_report_without_a_test_set_is_sound(browser: Browser, tmp_path: Path) -> None:
    labels = np.repeat([-1, 0, 1], 4)
    points = np.random.default_rng(0).uniform(-1, 1, (12, 2))
    bare = everything(
        results=(),
        cmc={},
        ranked_lists=(),
        tables={},
        confused=(),
        num_queries=0,
        num_valid_queries=0,
        embedding=EmbeddingMap(points, labels, labels < 0, "cluster", {}, total=12),
    )
    write_report(bare, tmp_path)
    browser.open(tmp_path / "report.html", width=360).require_sound()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Where it fails" not in text and "Map of the embedding" in text
