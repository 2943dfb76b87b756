"""The browser that tests look through sees what is wrong with a page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser

DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def written(folder: Path, body: str, head: str = "") -> Path:
    page = folder / "page.html"
    head += "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    page.write_text(f"<!DOCTYPE html><html><head><meta charset='utf-8'>{head}</head><body>{body}</body></html>")
    return page


def test_browser_finds_nothing_wrong_with_a_sound_page(browser: Browser, tmp_path: Path) -> None:
    page = browser.open(written(tmp_path, f"<h1>Hello</h1><img src='{DOT}' alt='a dot'>"), width=360)
    page.require_sound()
    assert (page.images, page.width) == (1, 360)


def test_browser_sees_missing_pictures_and_requests(browser: Browser, tmp_path: Path) -> None:
    body = "<img src='gone.png' alt='gone'><img src='http://pictures.invalid/a.png' alt='afar'>"
    page = browser.open(written(tmp_path, body + f"<img src='{DOT}'>"))
    assert page.missing == ["gone", "afar"] and page.unnamed == 1
    assert any("pictures.invalid" in request for request in page.requests) and len(page.requests) == 2
    with pytest.raises(AssertionError):
        page.require_sound()


def test_browser_hears_errors_and_violations(browser: Browser, tmp_path: Path) -> None:
    page = browser.open(written(tmp_path, "<script>console.error('broken'); throw new Error('thrown')</script>"))
    assert "broken" in page.messages and any("thrown" in message for message in page.messages)
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    page = browser.open(written(tmp_path, f"<script>1</script><img src='{DOT}' alt=''>", policy))
    assert len(page.messages) >= 2 and all("Content Security Policy" in message for message in page.messages)


def test_browser_measures_what_is_wider_than_the_window(browser: Browser, tmp_path: Path) -> None:
    wide = "<p style='width: 900px'>wide</p>"
    page = browser.open(written(tmp_path, wide), width=360)
    assert page.overflow > 500 and page.beyond == ["P."]
    inside = f"<div class='scroll' style='overflow-x: auto'>{wide}</div>"
    browser.open(written(tmp_path, inside), width=360).require_sound()
