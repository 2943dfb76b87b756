"""A page as a person's browser shows it: headless Chromium, driven over its DevTools pipe, without a network.

    with Browser() as browser:
        page = browser.open(folder / "report.html", width=360)
        page.require_sound()

Nothing but the standard library: DevTools speaks JSON, ended by a zero byte, on the descriptors 3 (to it) and 4
(from it).
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",  # a mouse
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
_LOOK = """(() => {
  const wide = document.scrollingElement;
  const beyond = [...document.querySelectorAll("body *")].filter(
    e => e.getBoundingClientRect().right > wide.clientWidth + 1 && !e.closest(".scroll"));
  return {
    missing: [...document.images].filter(i => !(i.complete && i.naturalWidth > 0))
      .map(i => i.alt || i.src.slice(0, 80)),
    images: document.images.length,
    unnamed: [...document.images].filter(i => !i.hasAttribute("alt")).length,
    overflow: wide.scrollWidth - wide.clientWidth,
    beyond: beyond.slice(0, 5).map(e => e.tagName + "." + e.className),
    width: wide.clientWidth,
  };
})()"""


@dataclass
class Page:
    """What the browser told of a page that it opened.

    Attributes:
        messages: of the console and of the log: errors, warnings, violations of the page's own policy.
        requests: what was asked for, apart from the page itself and from what lies in it (data:, blob:).
        missing: pictures that cannot be seen, by their alternative text.
        images: how many pictures there are; `unnamed` of them have no alternative text.
        overflow: pixels by which the page is wider than the window; `beyond` names elements that reach over its edge,
            but for those in an element of the class "scroll", which a person moves by itself.
    """

    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    images: int = 0
    unnamed: int = 0
    overflow: int = 0
    beyond: list[str] = field(default_factory=list)
    width: int = 0

    def require_sound(self) -> None:
        """No error, no violation, no missing picture, no request to anywhere, nothing wider than the window."""
        assert self.messages == []
        assert self.requests == []
        assert self.missing == [] and self.unnamed == 0
        assert (self.overflow, self.beyond) == (0, [])


class Tab:
    """A page that a person works with: its address may be one of this machine's."""

    def __init__(self, browser: "Browser", target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited where it is a promise."""
        answer = self._browser._call(
            "Runtime.evaluate", self._session, expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, seconds: float = 60) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"never: {expression}; the page: {self.text[:2000]}"
            time.sleep(0.05)
        return value

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    @property
    def messages(self) -> list[str]:
        """Errors, warnings and violations so far, of all tabs."""
        return _messages(self._browser._events)

    @property
    def requests(self) -> list[str]:
        """Addresses on other machines that were asked for so far, by all tabs."""
        return [url for url in _requests(self._browser._events, "") if not url.startswith("http://127.0.0.1:")]

    def key(self, key: str, **more: Any) -> None:
        """A key is pressed and let go."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        for kind in ("keyDown", "keyUp"):
            self._browser._call(
                "Input.dispatchKeyEvent",
                self._session,
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
                **more,
            )

    def type(self, text: str) -> None:
        """Text is put where the focus is."""
        self._browser._call("Input.insertText", self._session, text=text)

    def look(self) -> Page:
        """What there is to see, as `Browser.open` tells it, without messages and requests."""
        return Page(**self.evaluate(_LOOK))

    def picture(self, path: Path) -> None:
        """Takes a screenshot (PNG) of all of the page."""
        shot = self._browser._call("Page.captureScreenshot", self._session, captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._browser._call("Target.closeTarget", targetId=self._target)


class Browser:
    """A headless Chromium with an empty profile, as a context; the test is skipped where there is none."""

    def __enter__(self) -> Self:
        if CHROMIUM is None:
            pytest.skip("there is no chromium on this machine: apt install chromium")
        self._profile = tempfile.mkdtemp(prefix="browser-")
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        log = os.open(f"{self._profile}/stderr", os.O_WRONLY | os.O_CREAT)
        # Numbers above 9 first: 3 and 4 may be among those that are to be moved there.
        moved = [(os.dup(end), end) for end in (to_browser, from_browser, log)]
        high = [os.dup2(copy, 200 + place) for place, (copy, _) in enumerate(moved)]
        for copy, end in moved:
            os.close(copy)
            os.close(end)
        actions = [
            (os.POSIX_SPAWN_DUP2, 200, 3),
            (os.POSIX_SPAWN_DUP2, 201, 4),
            (os.POSIX_SPAWN_DUP2, 202, 2),
            (os.POSIX_SPAWN_DUP2, 202, 1),
        ]
        arguments = [CHROMIUM, *_FLAGS, f"--user-data-dir={self._profile}/profile", "about:blank"]
        self._process = os.posix_spawn(CHROMIUM, arguments, os.environ, file_actions=actions, setpgroup=0)
        for end in high:
            os.close(end)
        self._unread, self._number = b"", 0
        self._events: list[Any] = []
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, *, width: int = 1200, height: int = 900, picture: Path | None = None) -> Page:
        """Opens a file in a window of that size, and looks at it; `picture` takes a screenshot (PNG) of all of it."""
        address = Path(path).resolve().as_uri()
        target, session = self._opened(address, width=width, height=height)
        ready = "Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 0)"
        self._call("Runtime.evaluate", session, expression=ready, awaitPromise=True)
        look = self._call("Runtime.evaluate", session, expression=_LOOK, returnByValue=True)["result"]["value"]
        if picture is not None:
            shot = self._call("Page.captureScreenshot", session, captureBeyondViewport=True)
            Path(picture).write_bytes(base64.b64decode(shot["data"]))
        page = Page(messages=_messages(self._events), requests=_requests(self._events, address), **look)
        self._call("Target.closeTarget", targetId=target)
        return page

    def visit(self, address: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> Tab:
        """Opens an address of this machine in a tab that stays, to work with."""
        return Tab(self, *self._opened(address, width=width, height=height, dark=dark))

    def _opened(self, address: str, *, width: int, height: int, dark: bool = False) -> tuple[str, str]:
        """A new target and its session, loaded."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable", session)
        self._call(
            "Emulation.setDeviceMetricsOverride",
            session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 700,
        )
        if dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            self._call("Emulation.setEmulatedMedia", session, features=features)
        self._events.clear()
        failed = self._call("Page.navigate", session, url=address).get("errorText")
        assert not failed, f"{address}: {failed}"
        self._wait(lambda: any(event["method"] == "Page.loadEventFired" for event in self._events))
        return target, session

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer: list[dict[str, Any]] = []

        def answered() -> bool:
            answer.extend(event for event in self._events if event.get("id") == number)
            return bool(answer)

        self._wait(answered)
        self._events = [event for event in self._events if "id" not in event]
        assert "error" not in answer[0], f"{method}: {answer[0]['error']['message']}"
        result: dict[str, Any] = answer[0]["result"]
        return result

    def _wait(self, done: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not done():
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            read = os.read(self._from, 1 << 20) if ready else b""
            if not read:
                log = Path(f"{self._profile}/stderr").read_text(errors="replace")[-2000:]
                raise AssertionError(f"the browser {'ended' if ready else 'does not answer'}: {log}")
            *whole, self._unread = (self._unread + read).split(b"\0")
            for line in whole:
                event = json.loads(line)
                self._events.append({"method": "", **event})


def _messages(events: list[dict[str, Any]]) -> list[str]:
    """Errors, warnings and violations; what a page merely logs is no fault."""
    found = []
    for event in events:
        params = event.get("params", {})
        if event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            found.append(params["entry"]["text"])
        elif event["method"] == "Runtime.exceptionThrown":
            found.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            found.append(" ".join(str(argument.get("value", "")) for argument in params["args"]))
    return found


def _requests(events: list[dict[str, Any]], own: str) -> list[str]:
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if url != own and not url.startswith(("data:", "blob:"))]
