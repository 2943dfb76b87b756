"""Fetching timm's weights from a local server that speaks as the hub does, and misbehaves."""

import gc
import hashlib
import http.server
import json
import ssl
import threading
import time
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from pipeline.common.errors import UserError
from pipeline.model.timm_hub import fetch_timm_weights

# pooch leaves the connections of refused requests to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PAYLOAD = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()
BACKBONE, STEM = "timm/test_vit", "test_vit.r160_in1k"
PATH = f"/timm/{STEM}/resolve/main/model.safetensors"
PROXIES = ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers HEAD by the script's behaviours, one after the other (the last one stays), and GET by `server.get`."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.server.heads.append(self.path)  # type: ignore[attr-defined]
        script = self.server.script  # type: ignore[attr-defined]
        script[min(len(self.server.heads), len(script)) - 1](self)  # type: ignore[attr-defined]

    def do_GET(self):
        self.server.gets.append(self.path)  # type: ignore[attr-defined]
        self.server.get(self)  # type: ignore[attr-defined]

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.close_connection = True
        self.send_response(status)
        for name, value in {"Content_Length": len(body), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def linked(handler, **headers):
    """What the hub answers for a large file: its digest, and where it is stored."""
    location = f"http://localhost:{handler.server.server_port}/stored"  # another host than the hub's
    named = {"X_Linked_Etag": f'"{DIGEST}"', "X_Linked_Size": len(PAYLOAD), "X_Repo_Commit": "1" * 40}
    handler.answer(302, **(named | {"Location": location} | headers))


def status(code, **headers):
    return lambda handler: handler.answer(code, b"sorry", **headers)


def missing(handler):
    handler.answer(404, X_Error_Code="EntryNotFound")


def bin_only(handler):
    linked(handler) if handler.path.endswith("pytorch_model.bin") else missing(handler)


def renamed(handler):
    """A repository that has moved within the hub."""
    handler.answer(307, Location=PATH + "?moved") if "?" not in handler.path else linked(handler)


def small(handler):
    handler.answer(200, X_Repo_Commit="1" * 40, ETag='"' + "a" * 40 + '"')


def silent(handler):
    time.sleep(0.5)
    linked(handler)


def stored(handler, send=None, payload=PAYLOAD):
    handler.answer(200, payload[:send], Content_Length=len(payload))


def through_link(handler):
    linked(handler) if handler.path != "/stored" else stored(handler)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.heads, self.gets, self.script, self.get = [], [], [linked], stored

    def handle_error(self, request, client_address):
        pass  # clients leave early here on purpose


@pytest.fixture
def server(monkeypatch):
    for name in (*PROXIES, *(name.lower() for name in PROXIES), *BUNDLES):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    gc.collect()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    def fetched(*script, backbone=BACKBONE, base_url=None, timeout=5.0):
        server.script = list(script) or [linked]
        server.heads.clear()
        server.gets.clear()
        fetched.waits.clear()  # type: ignore[attr-defined]
        return fetch_timm_weights(
            backbone,
            tmp_path / "weights",
            base_url=base_url or f"http://127.0.0.1:{server.server_port}/",
            progress=False,
            timeout=timeout,
        )

    fetched.waits = []  # type: ignore[attr-defined]
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=fetched.waits.append))  # type: ignore[attr-defined]
    monkeypatch.setattr(_http, "time", SimpleNamespace(**vars(time) | {"sleep": fetched.waits.append}))  # type: ignore[attr-defined]
    return fetched


def refused(get, *script, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        get(*script, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_complete(path, tmp_path, suffix=".safetensors"):
    assert path == tmp_path / "weights" / f"{STEM}{suffix}"
    assert path.read_bytes() == PAYLOAD
    kept = path.with_name(f"{path.name}.sha256")
    assert kept.read_text() == f"{DIGEST}  {path.name}\n"
    assert {file.name for file in path.parent.iterdir()} == {path.name, kept.name}


@pytest.mark.parametrize("backbone", [BACKBONE, f"timm/{STEM}"])
def test_hub_gives_the_file_once(get, server, tmp_path, backbone):
    server.get = through_link
    assert_complete(get(backbone=backbone), tmp_path)
    assert server.heads == [PATH]
    assert server.gets == [PATH, "/stored"]
    assert_complete(get(status(500), backbone=backbone), tmp_path)
    assert server.heads == server.gets == get.waits == []


def test_hub_that_is_named_by_its_own_variable(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    assert_complete(fetch_timm_weights(BACKBONE, tmp_path / "weights", progress=False), tmp_path)
    assert server.heads == [PATH]


def test_hub_with_the_older_kind_of_file_alone(get, server, tmp_path):
    assert_complete(get(bin_only), tmp_path, ".bin")
    assert_complete(get(status(500)), tmp_path, ".bin")


def test_hub_with_a_renamed_repository(get, server, tmp_path):
    assert_complete(get(renamed), tmp_path)
    assert len(server.heads) == 2


@pytest.mark.parametrize("code", [429, 500, 503, 504])
def test_hub_is_asked_again_after_a_passing_error(get, tmp_path, code):
    assert_complete(get(status(code), status(code), status(code), linked), tmp_path)
    assert len(get.waits) == 3


def test_hub_with_a_lasting_503_is_given_up(get, server, tmp_path):
    message = refused(get, status(503), match="HTTP 503")
    assert len(server.heads) > 3
    page = f"https://huggingface.co/timm/{STEM}"
    assert f"put {page}/resolve/main/model.safetensors at {tmp_path / 'weights' / STEM}.safetensors" in message
    assert f"(its SHA-256 is on {page}/blob/main/model.safetensors)" in message


@pytest.mark.parametrize("code", [401, 403, 404])
def test_hub_without_the_repository_is_given_up_at_once(get, server, code):
    refused(get, status(code), match=f"answers HTTP {code}: put ")
    assert len(server.heads) == 1


def test_hub_without_any_file_is_named(get, server):
    refused(get, missing, match=f"has no file model.safetensors or pytorch_model.bin of timm/{STEM}: put ")
    assert len(server.heads) == 2


def test_hub_that_names_no_digest_is_not_trusted(get, server):
    refused(get, small, match="names no SHA-256 of /timm/")
    assert server.gets == []


def test_hub_that_redirects_in_a_circle_is_given_up_at_once(get):
    refused(get, status(307, Location=PATH), match="the connection to 127.0.0.1:.* fails .TooManyRedirects.")


def test_hub_that_does_not_answer_is_left(get):
    refused(get, silent, match=r"does not answer within 0\.1 s", timeout=0.1)
    assert len(get.waits) > 3


def test_file_of_the_hub_is_asked_for_again_after_a_cut_connection(get, server, tmp_path):
    script = [lambda handler: stored(handler, 200_000), stored]
    server.get = lambda handler: script[min(len(server.gets), 2) - 1](handler)
    assert_complete(get(), tmp_path)
    assert len(server.gets) == 2


def test_file_of_another_digest_is_never_named(get, server, tmp_path):
    server.get = lambda handler: stored(handler, payload=b"<html>please log in</html>")
    refused(
        get, match=f"sends has the SHA-256 .*: put http.* at .*{STEM}.safetensors .its SHA-256 starts with {DIGEST}"
    )
    assert list((tmp_path / "weights").iterdir()) == []


def test_file_that_changed_since_it_was_fetched_is_refused(get, tmp_path):
    path = get()
    path.write_bytes(b"something else")
    refused(get, match=f"has the SHA-256 .*should start with {DIGEST}: remove it")


def test_file_that_the_user_put_there_is_taken(get, server, tmp_path):
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / f"{STEM}.safetensors"
    path.write_bytes(b"mine")
    assert get() == path
    assert server.heads == []


def test_offline_says_which_file_to_put_where(get, tmp_path, monkeypatch):
    page = f"https://huggingface.co/timm/{STEM}"
    rest = (
        f"put {page}/resolve/main/model.safetensors at {tmp_path / 'weights' / STEM}.safetensors "
        f"(its SHA-256 is on {page}/blob/main/model.safetensors)"
    )
    message = refused(get, match="connection", base_url="http://127.0.0.1:1")
    assert (
        message == f"cannot fetch the weights of {BACKBONE}, the connection to 127.0.0.1:1 fails (ConnectError): {rest}"
    )
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    message = refused(get, match="HF_HUB_OFFLINE is set")
    assert message.endswith(rest)


def test_hub_is_reached_through_the_proxy_of_the_environment(get, server, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    assert_complete(get(base_url="http://hub.example"), tmp_path)
    assert server.heads == [f"http://hub.example{PATH}"]
    assert server.gets == [f"http://hub.example{PATH}"]


@pytest.mark.parametrize("variable", BUNDLES)
def test_hub_is_trusted_by_the_ca_bundle_of_the_environment(get, server, tmp_path, certificate, monkeypatch, variable):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_port}"
    refused(get, match="certificate of 127.0.0.1:.* is not accepted .*REQUESTS_CA_BUNDLE", base_url=url)
    monkeypatch.setenv(variable, str(certificate))
    assert_complete(get(base_url=url), tmp_path)


def test_base_url_that_is_none_is_refused(get):
    refused(get, match="must start with http:// or https://, got hub.example", base_url="hub.example")


def test_model_that_nobody_published_weights_of_is_named(get, server):
    refused(
        get,
        match="nobody published weights of timm/coatnet_0_224: use `pretrained: none`",
        backbone="timm/coatnet_0_224",
    )


def test_weights_that_are_elsewhere_than_on_the_hub_are_named(get, server):
    refused(
        get,
        match=r"timm/vit_huge_patch14_gap_224 are not on timm's hub, .*: fetch https://dl\..*ijepa.*`pretrained`",
        backbone="timm/vit_huge_patch14_gap_224",
    )
    assert server.heads == []


def test_starting_weights_of_timm_come_from_the_hub(server, tmp_path, monkeypatch):
    from pipeline.model.placing_weights import place_starting_weights

    told = place_starting_weights(
        "imagenet",
        backbone=BACKBONE,
        size=(32, 16),
        folder=tmp_path / "pretrained",
        downloads=tmp_path / "weights",
        checkout=tmp_path,
        mirror=f"http://127.0.0.1:{server.server_port}",
    )
    assert told == f"{BACKBONE} starts from {STEM}.safetensors"
    assert json.loads((tmp_path / "pretrained" / "weights.json").read_text()) == {
        "source": "imagenet",
        "backbone": BACKBONE,
        "file": "weights.safetensors",
        "name": f"{STEM}.safetensors",
        "sha256": DIGEST,
    }
    assert (tmp_path / "pretrained" / "weights.safetensors").read_bytes() == PAYLOAD
    with pytest.raises(UserError, match="has no model 'test_wit'; is it timm/.*test_vit"):
        place_starting_weights(
            "none", backbone="timm/test_wit", folder=tmp_path, size=(32, 16), downloads=tmp_path, checkout=tmp_path
        )
