"""The site that `make docs` has made, in a browser: nothing is asked of another host, and the search finds a page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser

SITE = Path(__file__).parents[1] / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not (SITE / "index.html").is_file():
        pytest.skip("there is no site/: make docs")
    with Browser() as opened:
        yield opened


@pytest.mark.parametrize("name", ["index", "data", "methods", "reference/clustering"])
@pytest.mark.parametrize("width", [360, 1200])
def test_page_of_the_site_asks_no_other_host(browser: Browser, name: str, width: int) -> None:
    seen = browser.open(SITE / f"{name}.html", width=width)
    assert seen.messages == [] and [url for url in seen.requests if not url.startswith("file://")] == []
    assert seen.missing == [] and seen.unnamed == 0 and seen.overflow == 0


def test_search_finds_a_page_that_is_opened_as_a_file(browser: Browser) -> None:
    tab = browser.visit((SITE / "index.html").as_uri())
    tab.evaluate("document.querySelector('.md-search__input').focus()")
    for key in "jaccard":
        tab.key(key)
    assert tab.wait_for("document.querySelectorAll('.md-search-result__item a').length") >= 2
    assert tab.messages == []
