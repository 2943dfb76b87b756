"""Starting weights: published ones, a file, or none, and what is written down about them."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.resnet import ResNet50_Weights

import pipeline.model.fetch as fetch
from pipeline.common.errors import UserError
from pipeline.common.files import read_json
from pipeline.model import BACKBONES, build
from pipeline.model.download import PublishedFile
from pipeline.model.placing_weights import place_starting_weights
from pipeline.model.starting_weights import starting_weights
from pipeline.model.weights import read_weights

BACKBONE = "resnet10_w32"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "pretrained"


def place(folder: Path, source: str, **changes: Any) -> str:
    """Calls with folders of this test."""
    top = folder.parents[1]
    values: dict[str, Any] = {
        "backbone": BACKBONE,
        "size": (32, 16),
        "folder": folder,
        "downloads": top / "downloads",
        "checkout": top,
    }
    return place_starting_weights(source, **(values | changes))


def weights_file(path: Path) -> Path:
    """A small file of weights; whether they fit a network is not asked here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"conv1.weight": torch.arange(6.0).reshape(2, 3)}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_none_is_random_weights(folder: Path) -> None:
    assert place(folder, "none") == "resnet10_w32 starts from random weights"
    description = {"source": "none", "backbone": BACKBONE, "file": None, "name": None, "sha256": None}
    assert starting_weights(folder) == (None, description)
    assert [path.name for path in folder.iterdir()] == ["weights.json"]


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("name", ["mine.pth", "mine.pt", "mine.pth.tar", "mine.safetensors", "with space and ü.pth"])
def test_file_is_copied_and_described(folder: Path, name: str, absolute: bool) -> None:
    mine = weights_file(folder.parents[1] / "weights" / name)
    source = str(mine) if absolute else f"weights/{name}"
    assert place(folder, source) == f"resnet10_w32 starts from {name}"
    path, description = starting_weights(folder)
    assert path is not None and path.parent == folder and path.suffix == mine.suffix
    assert description == {
        "source": source,
        "backbone": BACKBONE,
        "file": path.name,
        "name": name,
        "sha256": digest(mine),
    }
    assert digest(path) == digest(mine)
    assert read_weights(path)["conv1.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_file_is_sought_in_the_checkout_and_not_in_the_current_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights_file(tmp_path / "copy" / "mine.pth").parent)
    with pytest.raises(UserError, match=r"got 'mine\.pth': no file at .*/mine\.pth"):
        place(folder, "mine.pth")
    weights_file(tmp_path / "mine.pth")
    place(folder, "mine.pth")


def test_file_of_a_whole_network_starts_the_same_network(folder: Path) -> None:
    torch.manual_seed(0)
    before = build(BACKBONE)
    torch.save(before.state_dict(), folder.parents[1] / "mine.pth")
    place(folder, "mine.pth")
    after = build(BACKBONE, weights=starting_weights(folder)[0])
    assert all(torch.equal(value, before.state_dict()[key]) for key, value in after.state_dict().items())


def test_place_is_the_same_every_time_and_keeps_nothing_of_another_choice(folder: Path) -> None:
    weights_file(folder.parents[1] / "mine.pth")
    place(folder, "mine.pth")
    first = contents(folder)
    place(folder, "mine.pth")
    assert contents(folder) == first
    place(folder, "none")
    assert list(contents(folder)) == ["weights.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["pretrained"]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PublishedFile:
    """What stands for a published file: it lies at `published.pth`, and no place on the web has it."""
    file = weights_file(tmp_path / "published.pth")
    name = f"toy-{digest(file)[:8]}.pth"
    weights = PublishedFile(f"https://weights.example/{name}", name, digest(file)[:8])
    monkeypatch.setattr(fetch, "published_weights", lambda *_: weights)
    for variable in ("HTTP_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    return weights


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        content: bytes = self.server.content  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(published: PublishedFile, tmp_path: Path) -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.content = [], (tmp_path / "published.pth").read_bytes()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_imagenet_is_fetched_once(folder: Path, tmp_path: Path, published: PublishedFile, server: Any) -> None:
    mirror = f"http://127.0.0.1:{server.server_port}/mirror"
    for _ in range(2):
        assert place(folder, "imagenet", mirror=mirror) == f"resnet10_w32 starts from {published.name}"
    assert server.asked == [f"/mirror/{published.name}"]
    assert (tmp_path / "downloads" / published.name).read_bytes() == server.content
    path, description = starting_weights(folder)
    assert path is not None and path.read_bytes() == server.content
    assert description == {
        "source": "imagenet",
        "backbone": BACKBONE,
        "file": "weights.pth",
        "name": published.name,
        "sha256": digest(tmp_path / "published.pth"),
    }


def test_imagenet_that_lies_in_the_downloads_is_not_fetched(
    folder: Path, tmp_path: Path, published: PublishedFile
) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "published.pth").rename(tmp_path / "downloads" / published.name)
    place(folder, "imagenet")
    path, _ = starting_weights(folder)
    assert path is not None and digest(path).startswith(published.digest)


def test_imagenet_that_lies_there_damaged_is_refused(folder: Path, tmp_path: Path, published: PublishedFile) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / published.name).write_bytes(b"half")
    with pytest.raises(UserError, match=rf"{published.name} has the SHA-256 .* should start with {published.digest}"):
        place(folder, "imagenet")


def test_imagenet_of_our_own_backbones_was_never_published(folder: Path) -> None:
    with pytest.raises(UserError, match="nobody published ImageNet weights of resnet10_w32: use `pretrained: none`"):
        place(folder, "imagenet")


@pytest.fixture
def v2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A mirror with a file in the place of torchvision's V2 weights of ResNet-50, and its digest in their name."""
    content = weights_file(tmp_path / "v2.pth").read_bytes()
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    assert fetch.published_weights("resnet50", "imagenet_v2").url == ResNet50_Weights.IMAGENET1K_V2.url
    row = replace(BACKBONES["resnet50"], weights_v2=f"https://weights.example/{name}")
    monkeypatch.setitem(BACKBONES, "resnet50", row)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.content, server.name = [], content, name  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_newer_weights_of_torchvision_are_fetched_by_their_name(folder: Path, tmp_path: Path, v2: Any) -> None:
    mirror = f"http://127.0.0.1:{v2.server_port}/mirror"
    message = place(folder, "imagenet_v2", backbone="resnet50", mirror=mirror)
    assert message == f"resnet50 starts from {v2.name}" and v2.asked == [f"/mirror/{v2.name}"]
    assert (tmp_path / "downloads" / v2.name).read_bytes() == v2.content
    path, description = starting_weights(folder)
    assert path is not None and path.read_bytes() == v2.content and description["source"] == "imagenet_v2"
    assert starting_weights(folder)[1]["name"] != Path(ResNet50_Weights.IMAGENET1K_V1.url).name


@pytest.mark.parametrize(
    ("backbone", "match"),
    [
        ("resnet18", "imagenet_v2, torchvision's newer weights, are those of resnet50, resnet101, resnet152, not of"),
        ("resnet_ibn50a", "imagenet_v2, .* are those of resnet50, resnet101, resnet152, not of resnet_ibn50a"),
        ("timm/test_vit", "imagenet_v2 is of torchvision's networks; of timm/test_vit name a tag as the backbone"),
    ],
)
def test_newer_weights_that_do_not_exist_are_refused(folder: Path, backbone: str, match: str) -> None:
    with pytest.raises(UserError, match=f"^pretrained: {match}"):
        place(folder, "imagenet_v2", backbone=backbone)


def test_unknown_backbone_is_refused_before_anything_else(folder: Path) -> None:
    with pytest.raises(UserError, match=r"backbone must be one of resnet18, .*, got 'resnet20' \(params.yaml\)"):
        place(folder, "no such file", backbone="resnet20")


@pytest.mark.parametrize("source", ["no such file.pth", "", ".", "weights", "ImageNet"])
def test_file_that_is_none_is_named(folder: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "weights").mkdir()
    with pytest.raises(
        UserError, match="pretrained must be imagenet, imagenet_v2, synthetic, none or a file with weights, got '"
    ) as caught:
        place(folder, source)
    assert f"got {source!r}: no file at {tmp_path / source}" in str(caught.value)


@pytest.mark.parametrize("name", ["mine.onnx", "mine", "mine.pth.zip", "mine.PTH"])
def test_file_of_another_suffix_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    weights_file(tmp_path / name)
    with pytest.raises(
        UserError, match=rf"pretrained: .*/{name} must end in one of \.pth, \.pt, \.tar, \.bin, \.safetensors"
    ):
        place(folder, name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_file_that_cannot_be_read_is_refused_and_nothing_is_lost(folder: Path, tmp_path: Path, suffix: str) -> None:
    place(folder, "none")
    before = contents(folder)
    mine = weights_file(tmp_path / f"mine{suffix}")
    mine.write_bytes(mine.read_bytes()[:40])
    with pytest.raises(UserError, match=rf"mine{suffix} (is damaged|cannot be read as weights)"):
        place(folder, mine.name)
    assert contents(folder) == before


def test_starting_weights_that_were_not_placed_name_the_stage(folder: Path) -> None:
    with pytest.raises(UserError, match=r"pretrained/weights\.json is missing: run `dvc repro pretrained` first"):
        starting_weights(folder)


def test_starting_weights_with_a_damaged_description_name_it(folder: Path) -> None:
    place(folder, "none")
    (folder / "weights.json").write_text("{")
    with pytest.raises(UserError, match=r"weights\.json is damaged"):
        starting_weights(folder)


def test_description_is_read_by_name(folder: Path, tmp_path: Path) -> None:
    place(folder, str(weights_file(tmp_path / "mine.pth")))
    assert read_json(folder / "weights.json")["file"] == "weights.pth"
