"""The page in a browser: look, merge, split, undo, search, two tabs; and what other pages may not do."""

import base64
import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests
import uvicorn
from PIL import Image

from pipeline.browse.server import application
from pipeline.browse.session import Session
from tests.browse.conftest import EACH, HOSTILE, crop
from tests.browser import Browser, Tab


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@contextlib.contextmanager
def served(session: Session) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application(session), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 60
        while not server.started and time.monotonic() < end:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def address(session: Session) -> Iterator[str]:
    with served(session) as address:
        yield address


def click(tab: Tab, selector: str) -> None:
    tab.evaluate(f"document.querySelector({selector!r}).click()")


def cards(tab: Tab, number: int) -> None:
    tab.wait_for(f"document.querySelectorAll('.cluster').length === {number}")


def test_clusters_are_merged_split_and_taken_back(browser: Browser, session: Session, address: str) -> None:
    tab = browser.visit(address)
    cards(tab, 5)
    tab.wait_for("[...document.images].every(i => i.loading === 'lazy')")
    assert "5 clusters of 60 images, 2 images in none; 0 decisions" in tab.text
    for number in (1, 2):
        click(tab, f"[aria-label='select cluster {number}']")
    tab.wait_for("document.body.innerText.includes('Merge selected (2)')")
    tab.key("m")
    cards(tab, 4)
    assert "clusters are one now" in tab.text and session.cluster(1)["size"] == 2 * EACH
    tab.evaluate(
        "[...document.querySelectorAll('.cluster h2 button')].find(b => b.textContent === 'Cluster 0').click()"
    )
    tab.wait_for("document.querySelectorAll('.wide [aria-pressed]').length === 12")
    assert "camera gate" in tab.text
    assert tab.evaluate(f"[...document.images].some(i => i.title === 'red/{HOSTILE}.png')")  # as text, not as markup
    click(tab, ".wide [aria-pressed]")
    tab.wait_for("document.querySelector('[aria-pressed=true]') !== null")
    tab.key("s")
    cards(tab, 5)
    assert session.overview()["decisions"] == 2
    tab.key("u")
    tab.wait_for("document.body.innerText.includes('1 decisions')")
    cards(tab, 4)
    tab.evaluate("location.reload()")
    cards(tab, 4)
    assert tab.messages == [] and tab.requests == []
    tab.close()


def test_tab_that_is_behind_is_told_and_loses_nothing(browser: Browser, session: Session, address: str) -> None:
    first, second = browser.visit(address), browser.visit(address)
    for tab in (first, second):
        cards(tab, 5)
        for number in (3, 4):
            click(tab, f"[aria-label='select cluster {number}']")
    click(first, "#merge")
    cards(first, 4)
    click(second, "#merge")
    second.wait_for("document.querySelector('#status.error') !== null")
    assert "there is no cluster 4 any more" in second.text and session.overview()["decisions"] == 1
    cards(second, 4)
    for tab in (first, second):
        tab.close()


def test_images_are_marked_as_outliers_by_keys_and_taken_back(browser: Browser, session: Session, address: str) -> None:
    tab = browser.visit(f"{address}#cluster-0")  # as the report links to it
    tab.wait_for("document.querySelectorAll('.wide [aria-pressed]').length === 12")
    tab.evaluate("document.querySelector('.wide [aria-pressed]').focus()")
    tab.key("Enter")
    tab.wait_for("document.body.innerText.includes('Marked are outliers (1)')")
    second = browser.visit(f"{address}#cluster-0")
    second.wait_for("document.querySelectorAll('.wide [aria-pressed]').length === 12")
    click(second, ".wide [aria-pressed]")
    tab.key("o")
    cards(tab, 5)
    assert "1 images are in no cluster now" in tab.text and "3 images in none; 1 decisions" in tab.text
    second.key("o")  # the same image, by a tab that is behind
    second.wait_for("document.querySelector('#status.error') !== null")
    assert "not in cluster 0 any more" in second.text and session.overview()["decisions"] == 1
    second.key("n")
    second.wait_for("document.querySelectorAll('.wide [aria-pressed]').length === 3")
    assert "outlier by decision" in second.text
    click(second, ".wide [aria-pressed]:enabled")
    click(second, "#outlier")
    second.wait_for("document.querySelectorAll('.wide [aria-pressed]:disabled').length === 2")
    assert "like cluster 4" in second.text
    click(second, ".wide [aria-pressed]:enabled")
    second.key("j")
    second.wait_for("document.body.innerText.includes('1 images are of a cluster now')")
    assert session.cluster(4)["size"] == EACH - 1
    second.key("u")
    cards(second, 5)
    second.key("n")
    second.wait_for("document.querySelectorAll('.wide [aria-pressed]:enabled').length === 1")
    look = second.look()
    assert (look.overflow, look.beyond) == (0, [])
    tab.key("u")
    tab.wait_for("document.body.innerText.includes('1 decisions')")
    tab.key("u")
    tab.wait_for("document.body.innerText.includes('2 images in none; 0 decisions')")
    for each in (tab, second):
        each.close()


def test_picture_that_is_dropped_is_searched(browser: Browser, address: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(crop("blue", 4)).save(buffer, format="PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    tab = browser.visit(address)
    cards(tab, 5)
    tab.evaluate(
        f"""(() => {{
          const bytes = Uint8Array.from(atob("{content}"), c => c.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], "query.png", {{type: "image/png"}}));
          document.dispatchEvent(new DragEvent("drop", {{dataTransfer: data, bubbles: true}}));
        }})()"""
    )
    tab.wait_for("document.querySelectorAll('.wide li').length === 24")
    assert "same" in tab.text and "cluster 2" in tab.text
    tab.key("Escape")
    cards(tab, 5)
    tab.close()


@pytest.mark.parametrize("width", [390, 1200])
def test_page_fits_phone_and_screen(browser: Browser, address: str, width: int) -> None:
    tab = browser.visit(address, width=width)
    cards(tab, 5)
    tab.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    tab.wait_for("[...document.images].every(i => i.complete)")
    look = tab.look()
    assert (look.overflow, look.beyond, look.missing, look.unnamed) == (0, [], [], 0)
    tab.close()


def test_other_pages_change_nothing(session: Session, address: str) -> None:
    assert requests.get(address, timeout=10).headers["Content-Security-Policy"].startswith("default-src 'none'")
    for headers in ({}, {"x-page": "guessed"}):
        answer = requests.post(f"{address}api/undo", headers=headers, timeout=10)
        assert answer.status_code == 403 and "load it again" in answer.json()["error"]
    assert requests.get(address, headers={"Host": "evil.example"}, timeout=10).status_code == 400
    for path in ("api/clusters?sort=x", "api/clusters/99", "thumb/99"):
        answer = requests.get(address + path, timeout=10)
        assert answer.status_code in (404, 409) and "error" in answer.json()
    assert requests.get(f"{address}api/clusters?page=999", timeout=10).json()["page"] == 0
    assert requests.get(f"{address}../../etc/passwd", timeout=10).status_code == 404
    token = requests.get(address, timeout=10).text.split('page-token" content="')[1].split('"')[0]
    for what, body in (
        ("merge", "[]"),
        ("merge", '{"clusters": [true, "1"]}'),
        ("split", "{"),
        ("outlier", "{}"),
        ("join", '{"images": [[1]]}'),
        ("steal", "{}"),
    ):
        answer = requests.post(f"{address}api/{what}", data=body, headers={"x-page": token}, timeout=10)
        assert answer.status_code == 409 and answer.json()["error"]
    assert session.overview()["decisions"] == 0
