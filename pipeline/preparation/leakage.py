"""Images that are in the training split and in the test splits: such a test measures memorisation."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.common.contents import Folders
from pipeline.common.errors import UserError
from pipeline.datasets.images import folder_and_name


def leaked_images(catalogue: pd.DataFrame, hashes: Sequence[bytes], source: Folders) -> pd.DataFrame:
    """Finds the test images whose file is, byte by byte, one of the training split.

    Files are read only where the pixels agree, so this costs nothing where there is no leak. The same pixels in other
    bytes (another format, other metadata) are not reported; nor are duplicates within the test splits.

    Args:
        catalogue: N rows.
        hashes: `image_hash` of each image.
        source: the folder that the paths are relative to, or several.

    Returns:
        One row per leaked image of query or gallery, sorted, and the first training image that it equals: the columns
        `train` and `test` are their paths. An image in query and gallery is one row.

    Raises:
        UserError: a file has gone since its image was packed.
    """

    def file(path: str) -> Path:
        return Path(*folder_and_name(source, path))

    train, test = (_paths_by_hash(catalogue, hashes, in_train) for in_train in (True, False))
    found: list[tuple[str, str]] = []  # (test, train)
    for pixels in train.keys() & test.keys():
        first: dict[bytes, str] = {}
        for path in sorted(train[pixels]):
            first.setdefault(_file_hash(file(path)), path)
        for path in test[pixels]:
            same = first.get(_file_hash(file(path)))
            if same is not None:
                found.append((path, same))
    found.sort()
    columns = {"train": [train_path for _, train_path in found], "test": [test_path for test_path, _ in found]}
    return pd.DataFrame(columns, dtype="str")


def _paths_by_hash(catalogue: pd.DataFrame, hashes: Sequence[bytes], in_train: bool) -> dict[bytes, set[str]]:
    found: dict[bytes, set[str]] = {}
    for path, split, pixels in zip(catalogue["path"], catalogue["split"], hashes, strict=True):
        if (split == "train") == in_train:
            found.setdefault(pixels, set()).add(path)
    return found


def _file_hash(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UserError(
            f"{path} could be read a moment ago, not now ({error.strerror}): is it being changed?"
        ) from error
