"""A bar on a terminal, lines in a file, nothing where it is not wanted."""

import io
from collections.abc import Callable

import pytest

from pipeline.common import progress
from pipeline.common.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Show = Callable[..., io.StringIO]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Puts a stream in the place of stderr: a log file with a line every so many seconds, or a terminal."""
    for name in ("TQDM_DISABLE", "TQDM_MININTERVAL"):
        monkeypatch.delenv(name, raising=False)

    def replaced(kind: str = "file", *, seconds: float = 0.0) -> io.StringIO:
        stream = Terminal() if kind == "terminal" else io.StringIO()
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", seconds)
        monkeypatch.setattr("sys.stderr", stream)
        return stream

    return replaced


def test_progress_in_a_file_is_plain_lines(stderr: Show) -> None:
    file = stderr()
    with Progress("packing", 3, unit="image") as shown:
        for _ in range(3):
            shown.advance()
    lines = file.getvalue().splitlines()
    assert [line.split(" images")[0] for line in lines] == [f"packing: {n}/3" for n in (0, 1, 2, 3, 3)]
    assert "\r" not in file.getvalue() and "\x1b" not in file.getvalue()
    assert "" not in lines and file.getvalue().endswith("\n")


def test_progress_in_a_file_is_a_line_every_quarter_minute(stderr: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    file = stderr(seconds=progress.SECONDS_BETWEEN_LINES)
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with Progress("epoch 1/2", 50) as shown:
        for _ in range(50):
            now[0] += 1.0
            shown.advance()
    counts = [line.split(" ")[2] for line in file.getvalue().splitlines()]
    assert counts == ["15/50", "30/50", "45/50", "50/50"]


def test_progress_in_a_file_says_nothing_of_short_work(stderr: Show) -> None:
    file = stderr(seconds=progress.SECONDS_BETWEEN_LINES)
    with Progress("short", 2) as shown:
        shown.advance(2)
    assert file.getvalue() == ""


def test_progress_shows_the_figures_beside_the_count(stderr: Show) -> None:
    file = stderr()
    with Progress("epoch 1/2", 2) as shown:
        shown.advance(loss="2.345", clusters=7)
        shown.advance()
    lines = file.getvalue().splitlines()
    assert "clusters=7" not in lines[0]
    assert all("loss=2.345" in line and "clusters=7" in line for line in lines[1:])


def test_progress_reaches_absolute_numbers(stderr: Show) -> None:
    """As those tell who learn the total while they work."""
    file = stderr()
    with Progress("drawing", unit="image") as shown:
        for done in (2, 2, 5):
            shown.reach(done, 5)
    lines = [line.split(" images")[0] for line in file.getvalue().splitlines()]
    assert lines[0] == "drawing: 0/?" and lines[1] == "drawing: 2/5" and lines[-1] == "drawing: 5/5"


def test_progress_on_a_terminal_is_one_bar(stderr: Show) -> None:
    terminal = stderr("terminal")
    with Progress("packing", 4, unit="image") as shown:
        shown.advance(4, loss="1.5")
    text = terminal.getvalue()
    assert text.count("\n") == 1 and text.count("\r") >= 2
    last = text.rsplit("\r", 1)[1]
    assert "packing: 100%" in last and "4/4" in last and "loss=1.5" in last and "##" in last


@pytest.mark.parametrize("kind", ["file", "terminal"])
def test_progress_that_is_not_shown_writes_nothing(stderr: Show, kind: str) -> None:
    output = stderr(kind)
    with Progress("packing", 3, shown=False) as shown:
        shown.advance(1, loss=1.0)
        shown.reach(2, 3)
        shown.advance()
    assert output.getvalue() == ""


def test_progress_is_closed_by_an_error_too(stderr: Show) -> None:
    file = stderr()
    with pytest.raises(RuntimeError, match="no"), Progress("packing", 3) as shown:
        shown.advance()
        raise RuntimeError("no")
    assert file.getvalue().splitlines()[-1].startswith("packing: 1/3")
