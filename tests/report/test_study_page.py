"""The comparison of a study: a page that asks for nothing, and its tables and figures beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.report import study_page as module
from pipeline.report.figures.study_figures import comparison_figures, plus_minus
from pipeline.report.study_columns import MEASURED
from pipeline.report.study_page import ComparisonData, named_numbers, printed, write_comparison
from pipeline.study.outcomes import summarise
from tests.browser import Browser
from tests.report.test_page import EVIL, Page


def data(*, variants=("baseline", "+ DCPS"), seeds=(1, 2, 3), missing=(), scored=True, **changes) -> ComparisonData:
    rng = np.random.default_rng(0)
    runs, histories = [], []
    for variant in variants:
        for seed in seeds:
            if (variant, seed) in missing:
                continue
            score = float(rng.uniform(0.2, 0.5)) if scored else np.nan
            figures = dict.fromkeys(MEASURED, np.nan) | {"student_mAP": score, "student_rank1": score, "clusters": 70}
            runs.append(
                {"variant": variant, "seed": seed, **figures, "experiment": f"toy-{seed}", "mlflow_run": "b" * 32}
            )
            epochs = np.arange(1, 7)
            histories.append(
                pd.DataFrame(
                    {
                        "variant": variant,
                        "seed": seed,
                        "epoch": epochs,
                        "eps": 0.6 * 0.99**epochs,
                        "num_clusters": 50 + epochs + seed,
                        "student_mAP": np.where(epochs % 3, np.nan, score),
                    }
                )
            )
    columns = ["variant", "seed", *MEASURED, "experiment", "mlflow_run"]
    table = pd.DataFrame(runs, columns=columns)
    settings = pd.DataFrame({"loss.weight": range(len(variants))}, index=list(variants))
    values: dict[str, Any] = {
        "title": "A study",
        "description": "What it is.",
        "dataset": "synthetic",
        "backbone": "resnet10",
        "settings": ("loss.weight",),
        "summary": summarise(table, settings, wanted=len(seeds)),
        "runs": table,
        "history": pd.concat(histories),
        "provenance": {"Study": "toy"},
    }
    return ComparisonData(**{**values, **changes})


def page(given: ComparisonData) -> Page:
    return Page(module.render(given, comparison_figures(given.summary, given.runs, given.history)))


def test_write_comparison_leaves_page_tables_and_figures(tmp_path: Path) -> None:
    given = data()
    written = write_comparison(given, tmp_path / "deep/toy")
    assert {path.name for path in written} == {"toy.html", "toy.csv", "toy_runs.csv", "toy"}
    assert {path.name for path in (tmp_path / "deep/toy").iterdir()} == {
        "scores.png",
        "map_by_epoch.png",
        "clusters_by_epoch.png",
    }
    table = pd.read_csv(tmp_path / "deep/toy.csv").replace({"variant": {"'+ DCPS": "+ DCPS"}})
    pd.testing.assert_frame_equal(table, given.summary, check_dtype=False)
    again = write_comparison(given, tmp_path / "again")
    assert again[0].read_bytes() == written[0].read_bytes()


@pytest.mark.parametrize("width", [360, 1200])
def test_page_is_sound_in_a_browser(tmp_path: Path, width: int) -> None:
    given = data(variants=tuple(f"clustering.eps_schedule=a_long_word_{number}" for number in range(9)))
    write_comparison(given, tmp_path / "toy")
    with Browser() as browser:
        shown = browser.open(tmp_path / "toy.html", width=width)
    shown.require_sound()
    assert shown.images == 5  # the scores, and two figures for each half of the variants


def test_page_is_closed_and_has_a_text_for_every_picture() -> None:
    shown = page(data())
    assert [each["src"][:22] for each in shown.all("img")] == ["data:image/png;base64,"] * 3
    assert all(each["alt"] and each["width"] for each in shown.all("img"))
    assert "default-src 'none'" in shown.all("meta")[2]["content"]
    assert {each["href"] for each in shown.all("a")} == {"#result", "#epochs", "#settings", "#runs"}


def test_page_says_how_many_seeds_there_are() -> None:
    words = page(data(missing={("+ DCPS", 2)})).words()
    assert "n = 2 of 3" in words and "n = 3" in words


def test_page_of_one_seed_has_no_spread() -> None:
    shown = page(data(seeds=(1,)))
    assert "±" not in shown.words().split("Percent on the test images")[0]
    assert "n = 1" in shown.words()


def with_scores(*scores: tuple[float, ...]) -> str:
    """The words of a page of variants a, b, ... with these scores, one for each seed."""
    given = data(variants=tuple("abc"[: len(scores)]), seeds=tuple(range(len(scores[0]))), settings=("loss.weight",))
    runs = given.runs.assign(student_mAP=np.ravel(scores))
    settings = pd.DataFrame({"loss.weight": range(len(scores))}, index=list("abc"[: len(scores)]))
    return page(replace(given, runs=runs, summary=summarise(runs, settings, wanted=len(scores[0])))).words()


def test_page_names_no_winner_that_one_seed_or_chance_may_have_chosen() -> None:
    told = "mAP in percent: b 41.0, a 40.0. A single seed does not say which is better: take more."
    assert told in with_scores((0.40,), (0.41,))
    near = with_scores((0.38, 0.42), (0.39, 0.43))
    assert "b has the highest mean mAP, 41.0 ± 2.8 percent, but no clear lead on a: the seeds differ by more." in near
    clear = with_scores((0.38, 0.42), (0.59, 0.63), (0.1, 0.1))
    assert "b has the highest mean mAP: 61.0 ± 2.8 percent, +21.0 points against a (40.0 ± 2.8)." in clear
    first = with_scores((0.59, 0.63), (0.38, 0.42))
    assert "a has the highest mean mAP: 61.0 ± 2.8 percent, +21.0 points against b (40.0 ± 2.8)." in first


def test_page_of_a_variant_without_a_run_keeps_its_line() -> None:
    words = page(data(missing={("+ DCPS", seed) for seed in (1, 2, 3)})).words()
    assert "+ DCPS n = 0 of 3 –" in words


def test_page_without_scores_says_so() -> None:
    words = page(data(scored=False)).words()
    assert "Nothing was evaluated: the identities on the images are not known." in words and "clusters" in words


def test_page_of_one_variant_compares_nothing() -> None:
    words = page(data(variants=("only",), settings=())).words()
    assert "None: there is one run." in words and "highest mean mAP" not in words


def test_page_shows_names_as_text() -> None:
    shown = page(data(variants=(EVIL, "b"), title=EVIL, description=EVIL))
    assert "script" not in {tag for tag, _ in shown.elements}
    assert shown.words().count("<script>alert('x')</script>") >= 4


def test_page_includes_the_style_of_all_pages() -> None:
    text = module.render(data(), [])
    assert "--accent" in text and "{{" not in text and "{%" not in text and "{#" not in text


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.404, 0.051, "40.4 ± 5.1"),
        (0.404, None, "40.4"),
        (0.404, np.nan, "40.4"),
        (None, None, "–"),
        (np.nan, 0.1, "–"),
    ],
)
def test_plus_minus_leaves_out_what_is_not_known(mean: float | None, std: float | None, text: str) -> None:
    assert plus_minus(mean, std) == text


def test_plus_minus_takes_other_scales() -> None:
    assert plus_minus(1234.5, 2.25, scale=1, digits=0) == "1,234 ± 2"


def test_printed_and_named_numbers_are_those_of_the_summary() -> None:
    given = data(missing={("+ DCPS", 2)})
    assert printed(given.summary)[1].endswith("(n = 2 of 3)")
    named = named_numbers(given.summary)
    assert named["baseline/student_mAP_mean"] == pytest.approx(given.summary["student_mAP_mean"][0])


def test_names_are_harmless_in_tables_and_terminal(tmp_path: Path) -> None:
    names = ("=HYPERLINK(1)", "+ DCPS", "-1", "@SUM", "esc \x1b[31m \u202e")
    given = data(variants=names)
    write_comparison(given, tmp_path / "toy")
    for file in ("toy.csv", "toy_runs.csv"):
        cells = pd.read_csv(tmp_path / file, dtype=str)["variant"]
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells) and "'+ DCPS" in set(cells)
    for text in ((tmp_path / "toy.csv").read_text(), "\n".join(printed(given.summary)), module.render(given, [])):
        assert "\x1b" not in text and "\u202e" not in text
