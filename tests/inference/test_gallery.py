"""A program of one's own: images in, embeddings, verdicts and ranked lists out."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.inference import Embedder, Gallery
from pipeline.inference import embedder as module
from pipeline.model.saved import save_model
from pipeline.model.thresholds import KEY, Thresholds
from tests.inference.conftest import FEATURES, HEIGHT, WIDTH, images_of, network_of, settings_of

THRESHOLDS = Thresholds(same=0.9999, unsure=0.5, same_rate=1e-3, unsure_rate=1e-2, same_recall=0.4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = settings_of() | {KEY: {"student": THRESHOLDS.as_settings()}}
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, network_of(settings), network_of(settings), settings=settings)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five pictures of the network's own size."""
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path, pixels in zip(paths, images_of(5), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def test_embedder_takes_paths_pictures_and_arrays(model: Path, files: list[Path], monkeypatch: Any) -> None:
    embedder = Embedder(str(model))
    expected = embedder.embed(images_of(5), "images", shown=False)
    monkeypatch.setattr(module, "AT_ONCE", 2)
    opened = [Image.open(path) for path in files]
    for given in (files, [str(path) for path in files], opened, images_of(5), list(images_of(5))):
        found = embedder(given)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert embedder(files[0]).shape == embedder(images_of(1)[0]).shape == (1, FEATURES)
    assert embedder([]).shape == (0, FEATURES)
    large = np.zeros((3 * HEIGHT, 7 * WIDTH, 3), np.uint8)  # of another size
    assert embedder([large, files[0]]).shape == (2, FEATURES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["no.png"], "no.png cannot be read: no such file"),
        ([np.zeros((4, 4), np.uint8)], r"image 0 must be of shape \(h, w, 3\) and uint8, got \(4, 4\) and uint8"),
        ([np.zeros((4, 4, 3))], r"image 0 must be of shape .* got \(4, 4, 3\) and float64"),
        ([7], "image 0 must be a path, a PIL image or an array, got int"),
    ],
)
def test_embedder_names_what_is_no_image(model: Path, given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Embedder(model)(given)


def test_embedder_judges_two_images(model: Path, files: list[Path]) -> None:
    embedder = Embedder(model)
    assert embedder.thresholds == THRESHOLDS
    assert embedder.same(files[0], files[0]).verdict == "same"
    found = embedder.same(files[0], files[1])
    assert found.verdict == THRESHOLDS.verdict(found.cosine) != "same"
    one, other = embedder([files[0], files[1]])
    assert found.cosine == pytest.approx(float(one @ other), abs=1e-6)
    assert Embedder(model, role="teacher").thresholds is None
    with pytest.raises(UserError, match=r"model\.safetensors carries no thresholds: train it again"):
        Embedder(model, role="teacher").same(files[0], files[1])


@pytest.mark.parametrize(
    "damaged",
    [
        {"student": 7},
        {"student": {"same": "x"}},
        7,
        {"student": {**THRESHOLDS.as_settings(), "same": float("nan")}},
        {"student": {**THRESHOLDS.as_settings(), "same": 0.1}},
    ],
)
def test_damaged_thresholds_are_one_line(tmp_path: Path, damaged: Any) -> None:
    settings = settings_of() | {KEY: damaged}
    save_model(tmp_path / "m.safetensors", network_of(settings), None, settings=settings)
    with pytest.raises(UserError, match=r"m\.safetensors is damaged: its thresholds are no"):
        _ = Embedder(tmp_path / "m.safetensors").thresholds


def test_gallery_finds_is_saved_and_loaded(model: Path, files: list[Path], tmp_path: Path) -> None:
    embedder = Embedder(model)
    gallery = Gallery(embedder)
    assert gallery.search(files[0]) == [[]]
    gallery.add(files[:3])
    gallery.add(images_of(5)[3:], names=["three", "four"])
    assert len(gallery) == 5 and gallery.names == [*map(str, files[:3]), "three", "four"]
    lists = gallery.search(files, top=2)
    assert [hits[0].name for hits in lists] == gallery.names and all(len(hits) == 2 for hits in lists)
    assert all(hits[0].verdict == "same" and hits[0].cosine == pytest.approx(1, abs=1e-6) for hits in lists)
    assert len(gallery.search(files[0], top=99)[0]) == 5
    gallery.save(tmp_path / "gallery.safetensors")
    again = Gallery.load(tmp_path / "gallery.safetensors", embedder)
    assert again.names == gallery.names and again.search(files, top=2) == lists
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        gallery.search(files[0], top=0)


def test_gallery_refuses_in_one_line_and_adds_nothing(model: Path, files: list[Path], tmp_path: Path) -> None:
    gallery = Gallery(Embedder(model))
    for images, names, message in (
        (images_of(2), None, "need names"),
        (files, ["one"], "5 images and 1 names"),
        ([files[0], tmp_path / "no.png"], None, "cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            gallery.add(images, names)
    assert len(gallery) == 0
    with pytest.raises(UserError, match=r"a gallery must end in \.safetensors, got .*g\.npy"):
        gallery.save(tmp_path / "g.npy")


def test_gallery_of_another_model_or_damaged_is_one_line(model: Path, files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    gallery = Gallery(Embedder(model))
    gallery.add(files)
    gallery.save(path)
    with pytest.raises(UserError, match=r"g\.safetensors was made with another model than .*: add its images again"):
        Gallery.load(path, Embedder(model, role="teacher"))
    whole = path.read_bytes()
    for content in (b"", whole[:50], b"x" * 100, whole.replace(b"0.png", b"0.p\\g")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"g\.safetensors is damaged"):
            Gallery.load(path, Embedder(model))
    texts = {"names": "[1]", "model": gallery.embedder.digest, "role": "student"}
    path.write_bytes(safetensors.numpy.save({"embeddings": gallery.embeddings}, metadata=texts))
    with pytest.raises(UserError, match="names and embeddings do not fit"):
        Gallery.load(path, Embedder(model))
    with pytest.raises(UserError, match="no such gallery"):
        Gallery.load(tmp_path / "other.safetensors", Embedder(model))


def test_program_of_the_documentation_runs(model: Path, files: list[Path], tmp_path: Path, monkeypatch: Any) -> None:
    page = (Path(__file__).parents[2] / "docs/individuals.md").read_text(encoding="utf-8")
    program = page.split("```python\n")[1].split("```")[0]
    for place, file in zip(("north/1.jpg", "south/7.jpg", "north/2.jpg"), files, strict=False):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / place)
    (tmp_path / "data/model").mkdir(parents=True)
    shutil.copy(model, tmp_path / "data/model/model.safetensors")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/individuals.md", "exec"), {})
    assert (tmp_path / "gallery.safetensors").is_file()
