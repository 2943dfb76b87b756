"""A new figure is a function in the registry: it is on the page, in its section, and a file beside the page."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.report import ReportData, figures, write_report
from pipeline.report.figures.drawing import Picture, canvas, png_bytes
from tests.report.minimal import minimal_report

TOY = pd.DataFrame({"x": [1, 2], "y": [3, 4]})


def toy_figure(data: ReportData) -> Picture | None:
    """Draws a table of the evaluation that the report does not know."""
    table = data.tables.get("toy")
    if table is None:
        return None
    with canvas() as (figure, axes):
        axes[0].plot(table["x"], table["y"])
        png = png_bytes(figure)
    return Picture("toy", alt="A toy line up to 4.", caption="What the toy shows.", png=png, section="ranking")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", (*figures.FIGURES, toy_figure))


def test_registered_figure_is_on_the_page_and_a_file(tmp_path: Path) -> None:
    write_report(minimal_report(tables={"toy": TOY}), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = text.split('<section id="ranking"')[1].split("</section>")[0]
    assert 'alt="A toy line up to 4."' in section and "What the toy shows." in section
    assert '<a href="#ranking">Ranking</a>' in text
    assert (tmp_path / "figures/toy.png").read_bytes().startswith(b"\x89PNG")


def test_registered_figure_without_its_table_leaves_no_trace(tmp_path: Path) -> None:
    write_report(minimal_report(), tmp_path)
    assert "toy" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="ranking"' not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert list((tmp_path / "figures").iterdir()) == []


def test_figure_of_an_unknown_section_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(figures, "SECTIONS", {"result": "Result"})
    with pytest.raises(AssertionError, match="'toy' is of the unknown section 'ranking'"):
        write_report(minimal_report(tables={"toy": TOY}), tmp_path)
