"""What MLflow serves: a table of paths becomes the embeddings that the network gives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets.images import read_image
from pipeline.inference import embedder, mlflow_model
from pipeline.inference.embedder import Embedder
from pipeline.model.saved import save_model
from tests.inference.conftest import FEATURES, HEIGHT, WIDTH, images_of, network_of, settings_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    settings = settings_of()
    save_model(tmp_path / "model.safetensors", network_of(settings), network_of(settings), settings=settings)
    return tmp_path / "model.safetensors"


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Five pictures of another size than the network's."""
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path, pixels in zip(paths, images_of(5), strict=True):
        Image.fromarray(pixels).resize((50, 70)).save(path)
    return pd.DataFrame({"other": range(5), "path": [str(path) for path in paths]})


def test_predict_embeds_the_images_of_a_table(
    model: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.stack([read_image(Path(path), height=HEIGHT, width=WIDTH) for path in table["path"]])
    expected = Embedder(model).embed(images, "images")
    monkeypatch.setattr(embedder, "AT_ONCE", 2)
    found = mlflow_model._load_pyfunc(str(model)).predict(table)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_predict_of_an_empty_table_gives_no_embedding(model: Path) -> None:
    assert mlflow_model._load_pyfunc(str(model)).predict(pd.DataFrame({"path": []})).shape == (0, FEATURES)


def test_predict_names_an_image_that_cannot_be_read(model: Path, table: pd.DataFrame) -> None:
    Path(table["path"][3]).write_bytes(b"%PDF")
    with pytest.raises(UserError, match=r"3\.png cannot be read: a PDF, not JPEG"):
        mlflow_model._load_pyfunc(str(model)).predict(table)
