"""The pictures of the README and docs/, taken anew of what the commands show now: `make pictures [names]`.

Needs Chromium and a run of the demo (`make repro`); comparison, table and MLflow show the study of cameras
(`python -m stages.study studies/cameras.yaml --output reports/cameras`). A picture whose state is not there stays as it
is.
"""

import html
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from tests.browser import Browser, Tab

DOCS = Path("docs")
LARGEST = 300_000  # bytes
STUDY = "cameras"
# Its first seed, and the curves in which its parts differ.
RUNS = f'tags.study = "{STUDY}" and params.seed = "1"'
CURVES = "^epoch/(student_mAP|num_clusters|num_outliers|ari|purity|single_camera)$"
_TERMINAL = "margin: 0; padding: 14px; width: max-content; font: 13px/1.5 monospace; background: #fff; color: #1f2328"


def report(browser: Browser) -> None:
    """The first screens of the page of a run."""
    _page(browser, "report", Path("reports/report.html"), width=896, height=1888)


def comparison(browser: Browser) -> None:
    """Table and figure of the study."""
    _page(browser, "comparison", Path(f"reports/{STUDY}.html"), width=1100, height=1240)


def browse(browser: Browser) -> None:
    """The page to look at clusters."""
    _require(Path("reports/clusters.csv"))
    with _served("stages.browse") as address:
        tab = browser.visit(address, width=1000, height=860)
        tab.wait_for("document.querySelectorAll('.cluster img').length > 20")
        tab.wait_for("[...document.images].every(image => image.complete)")
        _save(tab, "browse", height=860)


def table(browser: Browser) -> None:
    """What `make table` prints."""
    command = [sys.executable, "-m", "stages.table"]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": "120"}, check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.html"
        file.write_text(f'<!doctype html><body style="margin:0"><pre style="{_TERMINAL}">{html.escape(done.stdout)}')
        tab = browser.visit(file.as_uri(), width=1200)
        width, height = tab.evaluate("(e => [e.offsetWidth, e.offsetHeight])(document.querySelector('pre'))")
        _save(tab, "table", width=width, height=height)


def mlflow(browser: Browser) -> None:
    """MLflow's charts of the study."""
    _require(Path("mlflow.db"))
    with _served("stages.ui") as address:
        shown = f"compareRunsMode=CHART&searchFilter={quote(RUNS)}&orderByKey={quote('metrics.`mAP`')}&orderByAsc=false"
        tab = browser.visit(f"{address}&{shown}", width=1400, height=1010)
        tab.wait_for("document.querySelectorAll('.js-plotly-plot').length > 0", seconds=120)
        # The assistant beside the page, where it is open.
        tab.evaluate("document.querySelectorAll('[aria-label=Close]').forEach(button => button.click())")
        tab.wait_for("document.querySelector('input[placeholder=\"Search metric charts\"]').focus() === undefined")
        tab.type(CURVES)
        tab.wait_for(
            "/epoch.student_mAP/.test(document.body.innerText) && !/epoch.ami/.test(document.body.innerText)",
            seconds=120,
        )
        time.sleep(5)  # the charts move into their places
        _save(tab, "mlflow", height=1010)


PICTURES: tuple[Callable[[Browser], None], ...] = (report, comparison, browse, table, mlflow)


def main(names: list[str]) -> None:
    """Takes the pictures of these names, or all."""
    for picture in PICTURES:
        if names and picture.__name__ not in names:
            continue
        with Browser() as browser:
            try:
                picture(browser)
            except FileNotFoundError as missing:
                print(f"{DOCS / picture.__name__}.png stays: there is no {missing}")


def _require(file: Path) -> None:
    if not file.is_file():
        raise FileNotFoundError(file)


def _page(browser: Browser, name: str, file: Path, *, width: int, height: int) -> None:
    """The top of a page that is a file."""
    _require(file)
    tab = browser.visit(file.resolve().as_uri(), width=width)
    tab.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0))).then(() => 0)")
    assert tab.messages == []
    _save(tab, name, height=height)


@contextmanager
def _served(program: str) -> Iterator[str]:
    """The address that a command prints, while it serves it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", program, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None, f"{program} names no address"
            _wait_for(port)
            yield found[0]
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def _wait_for(port: int, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < end, f"nobody answers at port {port}"
            time.sleep(0.2)


def _save(tab: Tab, name: str, *, width: int | None = None, height: int) -> None:
    """Writes the top of a page as a small PNG."""
    with tempfile.TemporaryDirectory() as folder:
        tab.picture(Path(folder) / "shot.png")
        image = Image.open(io.BytesIO((Path(folder) / "shot.png").read_bytes())).convert("RGB")
    image = image.crop((0, 0, width or image.width, min(height, image.height)))
    file = DOCS / f"{name}.png"
    # A method that keeps colours which few pixels have.
    image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    assert size <= LARGEST, f"{file} has {size:,} bytes, more than {LARGEST:,}"
    print(f"{file}: {image.width} x {image.height}, {size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
