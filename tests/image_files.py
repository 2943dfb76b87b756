"""Small data sets in the official layouts, written for the tests of readers, images and stores (fixtures)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image() -> WriteImage:
    """Writes an image of random smooth colours; the file's name seeds it."""

    def write(path: Path, *, height: int = 40, width: int = 20, mode: str = "RGB", **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(list(path.name.encode()))
        coarse = generator.integers(0, 256, size=(5, 3, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).convert(mode)
        image.save(path, **options)
        return path

    return write


@pytest.fixture
def market_folder(tmp_path: Path, write_image: WriteImage) -> Path:
    """Market-1501 in miniature, with junk, a distractor and what file managers leave behind."""
    folder = tmp_path / "raw" / "market1501" / "Market-1501-v15.09.15"
    names = {
        "bounding_box_train": ["0007_c2s3_000451_03.jpg", "0002_c1s1_000451_03.jpg", "0002_c3s1_000551_00.jpg"],
        "query": ["0003_c1s1_000001_00.jpg"],
        "bounding_box_test": [
            "-1_c1s1_000401_03.jpg",
            "0000_c6s3_086542_01.jpg",
            "0003_c5s1_000002_01.jpg",
            "0003_c1s1_000001_02.jpg.jpg",
        ],
    }
    for part, files in names.items():
        for name in files:
            write_image(folder / part / name)
    (folder / "bounding_box_train" / "Thumbs.db").write_bytes(b"x")
    (folder / "query" / "._0003_c1s1_000001_00.jpg").write_bytes(b"x")
    (folder / "readme.txt").write_text("hello", encoding="utf-8")
    return folder
