"""What a folder of crops tells of itself."""

from pathlib import Path

import pytest
from PIL import ExifTags, Image

from pipeline.common.errors import UserError
from pipeline.datasets.images import image_size
from pipeline.fitting.crops import crops_text, look
from pipeline.preparation.readers import ReaderOptions, open_dataset


def folder(raw: Path, *, number: int = 24, size: tuple[int, int] = (40, 20)) -> Path:
    """data/raw/mine with images of `size` (width, height), half of them in north/, half in south/."""
    for place in range(number):
        file = raw / "mine" / ("north", "south")[place % 2] / f"{place:02}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (place, 90, 200)).save(file)
    return raw / "mine"


def test_crops_are_measured_upright_and_folders_that_may_be_cameras_named(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "mine/north/00.jpg").write_bytes(b"")
    found = look(open_dataset("folder", tmp_path))
    assert (found.images, found.height, found.width, found.aspects[1]) == (24, 20, 40, 0.5)
    assert found.folders == ("north", "south") and found.cameras == 0 and not found.scored
    told = crops_text("mine", found)
    assert told[0].startswith("mine: 24 training images of about 20 x 40 pixels (height x width); no cameras")
    assert "1 of the files looked at cannot be read" in told[1] and "north/00.jpg (an empty file)" in told[1]
    assert "--camera '^([^/]+)/'" in told[2]
    with_cameras = look(open_dataset("folder", tmp_path, options=ReaderOptions(camera="^(north|south)/")))
    assert with_cameras.cameras == 2 and with_cameras.folders == ()


def test_image_size_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert image_size(tmp_path / "a.jpg") == (40, 20)


def test_too_few_images_are_one_line(tmp_path: Path) -> None:
    folder(tmp_path, number=5)
    with pytest.raises(UserError, match="5 images to train on, and 20 are the fewest.*stages.discover"):
        look(open_dataset("folder", tmp_path))
