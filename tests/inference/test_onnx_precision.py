"""Exports in float16 and 8 bits: smaller files, the embeddings nearly those of PyTorch, or no file at all."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.packed_images import PackedImages
from pipeline.evaluation.test_set import TestSet
from pipeline.inference import onnx_export, onnx_precision
from pipeline.inference.embedder import Embedder
from pipeline.inference.onnx_export import OPSET, export_onnx
from pipeline.inference.onnx_metadata import Agreement, Metadata, read_metadata
from pipeline.inference.onnx_precision import PRECISIONS, Limits
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.preparation.prepared_folder import write_prepared_folder
from pipeline.preparation.synthetic import draw_images
from tests.inference.conftest import FEATURES, HEIGHT, WIDTH, Exported, images_of, network_of, settings_of
from tests.inference.test_onnx_export import embedded

SMALLER = ("fp16", "int8")


@cache
def people() -> np.ndarray:
    """Pictures with more in them than noise, (24, H, W, 3) uint8."""
    size = {"height": HEIGHT, "width": WIDTH}
    return draw_images(seed=1, identities=8, cameras=3, images_per_identity=3, workers=1, **size)[0]


def export(path: Path, precision: str, **options: Any) -> Agreement:
    settings = options.pop("settings", settings_of())
    options = {"calibration": people(), **options}
    return export_onnx(
        path, network_of(settings), people(), role="student", settings=settings, precision=precision, **options
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each precision. Read them; do not change them."""
    folder = tmp_path_factory.mktemp("precisions")
    for precision in PRECISIONS:
        export(folder / f"{precision}.onnx", precision)
    return {precision: folder / f"{precision}.onnx" for precision in PRECISIONS}


@pytest.fixture
def traced(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets an export begin with the graph of `files`, which saves the seconds of torch's exporter."""

    def begin_with(precision: str) -> None:
        content = files["fp16" if precision == "fp16" else "fp32"].read_bytes()
        monkeypatch.setattr(onnx_export, "_serialised", lambda *_: content)

    return begin_with


@pytest.fixture
def scored(tmp_path: Path) -> TestSet:
    """Eight people of whom each has a query and two gallery images."""
    (tmp_path / "raw").mkdir()
    rows = []
    for index, image in enumerate(people()):
        name, split = f"{index:02d}.png", "gallery" if index % 3 else "query"
        Image.fromarray(image).save(tmp_path / "raw" / name)
        rows.append((name, index // 3, index % 3, split))
    catalogue = from_rows(rows)
    write_prepared_folder(catalogue, tmp_path / "raw", tmp_path / "prepared", height=HEIGHT, width=WIDTH, workers=1)
    return TestSet(PackedImages(tmp_path / "prepared"))


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.5), ("int8", 0.25)])
def test_file_is_as_much_smaller_as_its_numbers_are(files: dict[str, Path], precision: str, share: float) -> None:
    ratio = files[precision].stat().st_size / files["fp32"].stat().st_size
    assert share <= ratio < share + 0.02


@pytest.mark.parametrize("precision", SMALLER)
def test_file_is_opened_and_embeds_nearly_as_pytorch_does(files: dict[str, Path], precision: str) -> None:
    embedder = Embedder(files[precision])
    assert embedder.num_features == FEATURES and embedder.settings == settings_of()
    for images in (people()[:1], people()):  # any batch
        found, expected = embedder.embed(images, ""), embedded(network_of(settings_of()), images)
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)  # normalised in float32
        assert (found * expected).sum(axis=1).min() > PRECISIONS[precision].cosine
        assert np.abs(found - expected).max() > 1e-6  # it is no float32


@pytest.mark.parametrize("precision", SMALLER)
@pytest.mark.parametrize("pooling", ["gem", "avg+max"])
def test_pooling_without_a_linear_embedding(tmp_path: Path, precision: str, pooling: str) -> None:
    found = export(tmp_path / "m.onnx", precision, settings=settings_of(pooling=pooling, features=0))
    assert found.cosine > PRECISIONS[precision].cosine


@pytest.mark.parametrize("precision", SMALLER)
def test_file_is_plain_onnx_that_names_no_file_of_this_machine(files: dict[str, Path], precision: str) -> None:
    model = onnx.load(files[precision])
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    (image,), (embedding,) = model.graph.input, model.graph.output
    assert image.name == "images" and embedding.name == "embeddings"
    assert {each.type.tensor_type.elem_type for each in (image, embedding)} == {TensorProto.FLOAT}
    for trace in (b".py", b"site-packages", b"/tmp", str(Path(__file__).parents[2]).encode()):
        assert trace not in files[precision].read_bytes()


@pytest.mark.parametrize(("precision", "kind"), [("fp16", TensorProto.FLOAT16), ("int8", TensorProto.INT8)])
def test_weights_are_of_the_precision(files: dict[str, Path], precision: str, kind: int) -> None:
    tensors = onnx.load(files[precision]).graph.initializer
    assert {tensor.data_type for tensor in tensors if len(tensor.dims) > 1} == {kind}


@pytest.mark.parametrize("precision", SMALLER)
def test_two_exports_are_equal_byte_for_byte(files: dict[str, Path], tmp_path: Path, precision: str) -> None:
    export(tmp_path / "again.onnx", precision)
    assert (tmp_path / "again.onnx").read_bytes() == files[precision].read_bytes()


def test_ranges_are_those_of_the_calibration_images(
    files: dict[str, Path], tmp_path: Path, traced: Callable[[str], None]
) -> None:
    traced("int8")
    export(tmp_path / "m.onnx", "int8", calibration=images_of(24))
    assert (tmp_path / "m.onnx").read_bytes() != files["int8"].read_bytes()


def test_int8_is_made_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
    export(tmp_path / "m.onnx", "int8")
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []


@pytest.mark.parametrize("precision", PRECISIONS)
def test_metadata_say_precision_and_agreement(
    tmp_path: Path, scored: TestSet, traced: Callable[[str], None], precision: str
) -> None:
    traced(precision)
    found = export(tmp_path / "m.onnx", precision, test=scored, max_loss=100)
    metadata = OnnxNetwork(tmp_path / "m.onnx").metadata
    assert metadata.precision == precision and metadata.agreement == found
    assert 0 < found.pytorch_mean_ap <= 1 and abs(found.loss) < 20
    (told,) = [each.value for each in onnx.load(tmp_path / "m.onnx").metadata_props if each.key == "agreement"]
    assert set(json.loads(told)) == {"difference", "cosine", "mAP", "pytorch_mAP"}


def test_network_is_as_before_an_export(tmp_path: Path) -> None:
    settings = settings_of()
    network = network_of(settings)
    for precision in SMALLER:
        export_onnx(
            tmp_path / "m.onnx",
            network,
            people(),
            role="student",
            settings=settings,
            precision=precision,
            calibration=people(),
        )
    before = network_of(settings).state_dict()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def refused(path: Path, match: str, precision: str, **options: Any) -> None:
    """An export that must stop in one line and leave the file of before."""
    path.write_bytes(b"the one before")
    others = sorted(path.parent.iterdir())
    with pytest.raises(UserError, match=match) as caught:
        export(path, precision, **options)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"the one before" and sorted(path.parent.iterdir()) == others


@pytest.mark.parametrize("precision", SMALLER)
@pytest.mark.parametrize(("own", "limit"), [(None, ""), (1.5, "1.5")])
def test_loss_above_the_limit_leaves_the_file_of_before(
    tmp_path: Path,
    scored: TestSet,
    traced: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    own: float | None,
    limit: str,
) -> None:
    traced(precision)
    near = Agreement(difference=0.01, cosine=0.9999, mean_ap=0.475, pytorch_mean_ap=0.5)
    monkeypatch.setattr(onnx_export, "_scored", lambda *_: near)
    told = limit or f"{PRECISIONS[precision].loss:g}"
    match = f"m.onnx is not written: {precision} loses 2.50 points of mAP, more than {told}: .* by --max-loss"
    refused(tmp_path / "m.onnx", match, precision, test=scored, max_loss=own)
    export(tmp_path / "m.onnx", precision, test=scored, max_loss=2.6)
    assert OnnxNetwork(tmp_path / "m.onnx").metadata.agreement == near


@pytest.mark.parametrize("precision", SMALLER)
def test_cosine_decides_where_nothing_is_scored(
    tmp_path: Path, scored: TestSet, traced: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    traced(precision)
    monkeypatch.setitem(PRECISIONS, precision, Limits(loss=100, cosine=1.5))
    refused(tmp_path / "m.onnx", "has a cosine of .* with PyTorch's, less than 1.5, and no mAP", precision)
    export(tmp_path / "m.onnx", precision, test=scored)


def test_network_that_overflows_float16_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = onnx_precision.halved

    def overflowing(network: Any) -> Any:
        half = right(network)
        with torch.no_grad():
            half.backbone.module.conv1.weight.fill_(60_000)
        return half

    monkeypatch.setattr(onnx_export, "halved", overflowing)
    refused(tmp_path / "m.onnx", "differ from PyTorch's by nan, more than .*: take --precision fp32", "fp16")


def test_file_of_before_tells_no_precision_and_is_opened(
    changed: Callable[[dict[str, str | None]], Path], exported: Exported
) -> None:
    path = changed({"precision": None, "agreement": None})
    metadata = OnnxNetwork(path).metadata
    assert (metadata.precision, metadata.agreement) == ("fp32", None)
    assert Embedder(path).settings == exported.settings


GOOD = {"difference": 0.1, "cosine": 0.9, "mAP": 0.5, "pytorch_mAP": None}


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        ({"precision": '"int4"'}, "has the precision int4, where fp32, fp16, int8 can be read: export it again"),
        ({"precision": "[]"}, "has the precision .*, where fp32, fp16, int8 can be read"),
        ({"precision": "{"}, "is damaged: its metadata cannot be read"),
        ({"agreement": "[1]"}, "the agreement in its metadata does not hold difference, cosine, mAP, pytorch_mAP"),
        ({"agreement": json.dumps(GOOD | {"more": 1})}, "the agreement in its metadata does not hold"),
        ({"agreement": json.dumps(GOOD | {"difference": None})}, "difference in its metadata is no number from 0 to 2"),
        ({"agreement": json.dumps(GOOD | {"cosine": float("nan")})}, "cosine in its metadata is no number from -1 to"),
        ({"agreement": json.dumps(GOOD | {"cosine": True})}, "cosine in its metadata is no number"),
        ({"agreement": json.dumps(GOOD | {"mAP": 10**400})}, "mAP in its metadata is no number from 0 to 1"),
        ({"agreement": json.dumps(GOOD | {"pytorch_mAP": "0.5"})}, "pytorch_mAP in its metadata is no number"),
    ],
)
def test_damaged_precision_or_agreement_is_one_line(texts: dict[str, str], match: str) -> None:
    good = Metadata("student", settings_of(), "fp16", Agreement(0.1, 0.9)).as_text()
    assert read_metadata(good, Path("m.onnx")).agreement == Agreement(0.1, 0.9)
    with pytest.raises(UserError, match=match) as caught:
        read_metadata(good | texts, Path("m.onnx"))
    assert "\n" not in str(caught.value) and "m.onnx" in str(caught.value)
