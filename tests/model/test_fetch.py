"""Fetching weights from a local server that misbehaves in every way we could think of."""

import gc
import hashlib
import http.server
import os
import ssl
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pooch
import pytest

import pipeline.model.fetch as fetch
from pipeline.common.errors import UserError
from pipeline.model import BACKBONES
from pipeline.model.download import RETRIES, PublishedFile
from pipeline.model.fetch import fetch_weights, published_weights

# pooch leaves the connections of refused requests to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PAYLOAD = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()
NAME = f"toy-{DIGEST[:8]}.pth"
ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request by the next behaviour of the server's script; the last one stays."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        script, requests = self.server.script, self.server.requests  # type: ignore[attr-defined]
        requests.append(self.path)
        self.close_connection = True
        script[min(len(requests), len(script)) - 1](self)

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.script = [], [whole]

    def handle_error(self, request, client_address):
        pass  # clients leave early here on purpose


def whole(handler):
    handler.answer(200, PAYLOAD)


def cut(handler):
    handler.answer(200, PAYLOAD[:200_000], Content_Length=len(PAYLOAD))


def status(code, **headers):
    return lambda handler: handler.answer(code, b"sorry", **headers)


def no_length(send):
    return lambda handler: handler.answer(200, PAYLOAD[:send], Content_Length=None)


def wrong_content(handler):
    handler.answer(200, b"<html>please log in</html>")


def too_short(handler):
    handler.answer(200, PAYLOAD[:1000])


def slow(handler):
    handler.answer(200, Content_Length=len(PAYLOAD))
    for i in range(0, len(PAYLOAD), 60_000):
        time.sleep(0.05)
        handler.wfile.write(PAYLOAD[i : i + 60_000])


def stall(handler):
    handler.answer(200, PAYLOAD[:100_000], Content_Length=len(PAYLOAD))
    time.sleep(1.0)


def silent(handler):
    time.sleep(0.6)
    whole(handler)


def redirect(target):
    return lambda handler: handler.answer(302, Location=target)


@pytest.fixture
def server(monkeypatch):
    for name in (*ENVIRONMENT, *(name.lower() for name in ENVIRONMENT), *BUNDLES):
        monkeypatch.delenv(name, raising=False)
    published = PublishedFile(url=f"https://weights.example/v1/{NAME}", name=NAME, digest=DIGEST[:8])
    monkeypatch.setattr(fetch, "published_weights", lambda *_: published)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    gc.collect()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """Fetches from the server; `get.waits` are the seconds it would have waited."""

    def fetched(*script, base_url=None, timeout=5.0):
        if script:
            server.script = list(script)
        server.requests.clear()
        fetched.waits.clear()  # type: ignore[attr-defined]
        url = base_url or f"http://127.0.0.1:{server.server_port}/mirror/"
        return fetch_weights(
            "resnet18",
            tmp_path / "pretrained",
            base_url=url,
            progress=False,
            timeout=timeout,
        )

    fetched.waits = []  # type: ignore[attr-defined]
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=fetched.waits.append))  # type: ignore[attr-defined]
    return fetched


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def assert_complete(path, tmp_path):
    assert path == tmp_path / "pretrained" / NAME
    assert path.read_bytes() == PAYLOAD
    assert [file.name for file in path.parent.iterdir()] == [NAME]
    assert path.stat().st_mode & 0o044 == 0o044 & ~umask()


def refused(get, *script, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        get(*script, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_fetch_gets_the_file_once(get, server, tmp_path):
    assert_complete(get(), tmp_path)
    assert server.requests == [f"/mirror/{NAME}"]
    assert_complete(get(status(500)), tmp_path)
    assert server.requests == get.waits == []


def test_fetch_tries_again_after_a_cut_connection(get, server, tmp_path):
    assert_complete(get(cut, cut, whole), tmp_path)
    assert get.waits == [1, 2]


def test_fetch_without_a_length(get, tmp_path):
    assert_complete(get(no_length(None)), tmp_path)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_fetch_tries_again_after_a_passing_error(get, tmp_path, code):
    assert_complete(get(status(code), status(code), status(code), whole), tmp_path)
    assert get.waits == [1, 2, 3]


def test_fetch_gives_up_after_a_lasting_503(get, server, tmp_path):
    message = refused(get, status(503), match="HTTP 503")
    assert len(server.requests) == RETRIES + 1
    assert f"put https://weights.example/v1/{NAME} at {tmp_path / 'pretrained' / NAME}" in message
    assert DIGEST[:8] in message.split("SHA-256")[1]


def test_fetch_gives_up_where_every_connection_is_cut(get, server, tmp_path):
    refused(get, cut, match="the connection to 127.0.0.1:.* fails")
    assert len(server.requests) == RETRIES + 1
    assert list((tmp_path / "pretrained").iterdir()) == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_fetch_gives_up_at_once_where_the_file_is_not(get, server, code):
    refused(get, status(code), match=f"127.0.0.1:.* answers HTTP {code}: put ")
    assert len(server.requests) == 1
    assert get.waits == []


@pytest.mark.parametrize("behavior", [wrong_content, too_short, no_length(1000)])
def test_fetch_never_names_a_file_of_another_digest(get, server, tmp_path, behavior):
    refused(get, behavior, match=f"sends has the SHA-256 [0-9a-f]{{64}}: put .*{DIGEST[:8]}")
    assert len(server.requests) == 1
    assert list((tmp_path / "pretrained").iterdir()) == []


def test_fetch_that_is_interrupted_leaves_nothing(get, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.model.download.sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get()
    assert list((tmp_path / "pretrained").iterdir()) == []


def test_fetch_follows_redirects(get, server, tmp_path):
    assert_complete(get(redirect("/elsewhere"), whole), tmp_path)
    assert server.requests == [f"/mirror/{NAME}", "/elsewhere"]


def test_fetch_stops_at_a_circle_of_redirects(get):
    refused(get, redirect("/again"), match="redirects in a circle")
    refused(get, redirect("file:///weights.pth"), match="no web address, or redirects to none")


def test_fetch_is_patient_with_a_slow_server(get, tmp_path):
    assert_complete(get(slow, timeout=5.0), tmp_path)
    assert get.waits == []


def test_fetch_leaves_a_server_that_stalls(get, tmp_path):
    assert_complete(get(stall, whole, timeout=0.2), tmp_path)
    assert len(get.waits) == 1


def test_fetch_leaves_a_server_that_does_not_answer(get, server):
    refused(get, silent, match=r"does not answer within 0\.1 s", timeout=0.1)
    assert len(server.requests) == RETRIES + 1


def test_fetch_offline_without_the_file_says_which_file_to_put_where(get, server, tmp_path):
    message = refused(get, match="the connection to 127.0.0.1:1 fails", base_url="http://127.0.0.1:1/")
    assert message == (
        "cannot fetch the weights of resnet18, the connection to 127.0.0.1:1 fails: "
        f"put https://weights.example/v1/{NAME} at {tmp_path / 'pretrained' / NAME} "
        f"(its SHA-256 starts with {DIGEST[:8]})"
    )
    assert len(get.waits) == RETRIES


def test_fetch_offline_with_the_file_needs_no_network(get, server, tmp_path):
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / NAME).write_bytes(PAYLOAD)
    assert_complete(get(base_url="http://127.0.0.1:1/"), tmp_path)


def test_fetch_refuses_a_file_in_place_with_another_digest(get, server, tmp_path):
    (tmp_path / "pretrained").mkdir()
    path = tmp_path / "pretrained" / NAME
    path.write_bytes(b"something else")
    refused(get, whole, match=f"has the SHA-256 .*should start with {DIGEST[:8]}: remove it")
    assert path.read_bytes() == b"something else"
    assert server.requests == []


@pytest.mark.parametrize("behavior", [status(404), wrong_content, redirect("/again"), cut])
def test_fetch_never_shows_the_password_of_a_mirror(get, server, behavior):
    url = f"http://me:secret@127.0.0.1:{server.server_port}/mirror"
    assert "secret" not in refused(get, behavior, match="cannot fetch", base_url=url)


@pytest.mark.parametrize("url", ["ftp://mirror.example/", "mirror.example", "file:///weights"])
def test_fetch_refuses_a_base_url_that_is_none(get, url):
    refused(get, match=f"base URL of the weights must start with http:// or https://, got {url}", base_url=url)


def test_fetch_says_where_it_cannot_write(get, tmp_path):
    (tmp_path / "pretrained").write_text("a file, not a folder")
    refused(get, match=r"cannot write .*\.pth: File exists")


def test_fetch_reports_a_full_disk_in_one_line(get, tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    refused(get, match=r"cannot write .*\.pth: No space left on device")


def test_fetch_goes_through_the_proxy_of_the_environment(get, server, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    assert_complete(get(base_url="http://weights.example/v1"), tmp_path)
    assert server.requests == [f"http://weights.example/v1/{NAME}"]


def test_fetch_names_a_dead_proxy(get, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    refused(get, match="the proxy that the environment names does not answer", base_url="http://weights.example/v1")


def test_fetch_trusts_the_ca_bundle_of_the_environment(get, server, certificate, tmp_path, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_port}"
    refused(get, match="certificate of 127.0.0.1:.* is not accepted .*REQUESTS_CA_BUNDLE", base_url=url)
    assert get.waits == []
    for name in BUNDLES:
        with monkeypatch.context() as environment:
            environment.setenv(name, str(certificate))
            path = get(base_url=url)
            assert_complete(path, tmp_path)
            path.unlink()
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    refused(get, match="SSL_CERT_FILE names the CA bundle nowhere.pem, which does not exist", base_url=url)


def test_fetch_shows_progress_on_stderr(server, tmp_path, capsys):
    url = f"http://127.0.0.1:{server.server_port}"
    fetch_weights("resnet18", tmp_path, base_url=url)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert NAME in captured.err
    assert "300k/300k" in captured.err


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("resnet50", "resnet50-0676ba61.pth"),
        ("resnet_ibn50a", "resnet50_ibn_a-d9d0bb7b.pth"),
        ("resnet_ibn101a", "resnet101_ibn_a-59ea0ac6.pth"),
    ],
)
def test_published_weights_are_those_of_the_method(backbone, name):
    weights = published_weights(backbone)
    assert weights.name == name == weights.url.rsplit("/", 1)[1]
    assert weights.digest == Path(name).stem.rsplit("-", 1)[1]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_published_weights_or_says_so(backbone):
    if backbone in ("resnet10", "resnet10_w32", "resnet18_w32"):
        with pytest.raises(UserError, match=f"nobody published .* of {backbone}: use `pretrained: none`"):
            published_weights(backbone)
    else:
        assert published_weights(backbone).url.startswith("https://")


def test_unknown_backbone_is_named():
    with pytest.raises(ValueError, match=r"backbone must be one of resnet18, .*, got 'alexnet'"):
        published_weights("alexnet")
