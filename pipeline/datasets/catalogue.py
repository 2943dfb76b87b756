"""The catalogue: one row per image, the contract between `prepare` and everything that comes after it.

A catalogue is a pandas.DataFrame with the columns of `Row`,

- `path`   str, posix, relative to the data set's folder
- `pid`    Int64, the identity, or <NA> where identities are not known; 0 is a distractor where a protocol has them
- `camid`  Int64, the camera, or <NA> where cameras are not known
- `split`  "train", "query" or "gallery"

sorted by split (in this order), then path: a split is one contiguous run of rows. `pid`, and so `camid`, is known for
all training images or for none, and for all query and gallery images or for none: without identities there is nothing
to evaluate. A `pid` stands for one identity among the training images and for one among query and gallery; whether
the two numberings are connected is the data set's business. Identities serve evaluation only.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.text import one_line

PATH_RULE = "relative, UTF-8, with / between folders, without empty parts, . and .., backslashes and control characters"

Split = Literal["train", "query", "gallery"]
SPLITS: tuple[str, ...] = get_args(Split)
# Within each of these, what is known of one image is known of all.
_KNOWN_TOGETHER = {"train": ("train",), "query and gallery": ("query", "gallery")}


def is_image_path(path: str) -> bool:
    """Whether `path` can stand in a catalogue: see `PATH_RULE`."""
    if "\\" in path or not _is_utf8(path) or any(character < " " for character in path):
        return False
    return not any(part in ("", ".", "..") for part in path.split("/"))


def _image_path(path: str) -> str:
    if not is_image_path(path):
        raise ValueError(PATH_RULE)
    return path


_Number = Annotated[int, Field(ge=0)] | None


class Row(NamedTuple):
    """One image: what each field of a catalogue's row may hold."""

    path: Annotated[str, AfterValidator(_image_path)]
    pid: _Number
    camid: _Number
    split: Split


COLUMNS = Row._fields
_ROWS: TypeAdapter[list[Row]] = TypeAdapter(list[Row], config=ConfigDict(strict=True))


def from_rows(rows: Iterable[tuple[str, int | None, int | None, str]]) -> pd.DataFrame:
    """Builds a valid catalogue from (path, pid, camid, split) in any order.

    Raises:
        UserError: see `validate`.
    """
    rows = list(rows)
    for path, *numbers, _ in rows:  # what pandas cannot hold
        if not _is_utf8(path):
            raise UserError(f"the name of the image {path!a} is not UTF-8: rename it")
        if any(number is not None and number >= 2**63 for number in numbers):
            raise UserError(f"the image {one_line(path)} has too large a number for an identity or a camera: rename it")
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return in_order(table.astype({"path": "str", "pid": "Int64", "camid": "Int64", "split": "str"}))


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """A valid catalogue from its rows in any order.

    Raises:
        UserError: see `validate`.
    """
    return validate(table.iloc[_sort_order(table)].reset_index(drop=True))


def validate(catalogue: pd.DataFrame, *, source: str = "catalogue") -> pd.DataFrame:
    """Returns `catalogue` unchanged if it fulfils the contract above.

    Args:
        catalogue: the table to check.
        source: what to call it in a message, usually its file.

    Raises:
        UserError: a column, a type, a value or the order is wrong; the message names the row (1 = first image).
    """
    if tuple(catalogue.columns) != COLUMNS:
        found = ", ".join(map(one_line, catalogue.columns))
        raise UserError(f"{source}: columns must be {', '.join(COLUMNS)}, got {found}")
    for name in ("pid", "camid"):
        if catalogue[name].dtype != "Int64":
            raise UserError(f"{source}: column {name} must be whole numbers (Int64), got {catalogue[name].dtype}")
    if len(catalogue) == 0:
        raise UserError(f"{source}: there are no images in it")
    plain = catalogue.astype(object).where(catalogue.notna(), None)
    try:
        _ROWS.validate_python(list(plain.itertuples(index=False, name=None)))
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(error, catalogue)}") from error
    _reject(catalogue, catalogue.duplicated(["path", "split"]), source, "the image is listed twice in one split")
    for name in ("pid", "camid"):
        for group, splits in _KNOWN_TOGETHER.items():
            members = catalogue["split"].isin(splits)
            missing = members & catalogue[name].isna()
            if 0 < missing.sum() < members.sum():
                _reject(catalogue, missing, source, f"{name} is missing here, but given for other {group} images")
    if not np.array_equal(_sort_order(catalogue), np.arange(len(catalogue))):
        raise UserError(f"{source}: rows must be sorted by split ({', '.join(SPLITS)}), then path")
    return catalogue


def write_catalogue(catalogue: pd.DataFrame, path: Path) -> None:
    """Writes `catalogue` as CSV (UTF-8, a missing value is an empty field) in one step.

    Raises:
        UserError: see `validate`.
    """
    validate(catalogue, source=str(path))
    with replacing(path) as temporary:
        catalogue.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def read_catalogue(path: Path) -> pd.DataFrame:
    """Reads what `write_catalogue` wrote.

    Raises:
        UserError: the file is missing, is not a table, or see `validate`.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} is missing: run the prepare stage first")
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, na_values={"pid": [""], "camid": [""]}, encoding="utf-8"
        )
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows have more values than there are columns")
        numbers = {name: pd.to_numeric(table[name]).astype("Int64") for name in ("pid", "camid") if name in table}
    except (ValueError, TypeError, OverflowError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{path} is not a catalogue: {str(error).splitlines()[0]}") from error
    return validate(table.assign(**numbers), source=str(path))


def digest(catalogue: pd.DataFrame, images: np.ndarray | None = None) -> str:
    """Returns the version of a data set: a SHA-256 over the rows and, where given, the pixels.

    Args:
        catalogue: N rows.
        images: (N, H, W, 3) uint8, or None for the rows alone.

    Returns:
        64 hexadecimal digits.
    """
    hashes = None if images is None else [image_hash(image) for image in images]
    return combine_digest(catalogue, hashes)


def combine_digest(catalogue: pd.DataFrame, image_hashes: Sequence[bytes] | None) -> str:
    """`digest` from the `image_hash` of each image, which can be computed while the images are made."""
    total = hashlib.sha256()
    columns = [catalogue[name].astype(object).where(catalogue[name].notna(), "") for name in COLUMNS]
    for row in zip(*columns, strict=True):
        total.update("\0".join(map(str, row)).encode("utf-8") + b"\n")
    if image_hashes is not None:
        assert len(image_hashes) == len(catalogue)
        total.update(b"images\n")
        for value in image_hashes:
            total.update(value)
    return total.hexdigest()


def image_hash(image: np.ndarray) -> bytes:
    """SHA-256 (32 bytes) of one image's shape and pixels."""
    value = hashlib.sha256(repr(image.shape).encode())
    value.update(np.ascontiguousarray(image).data)
    return value.digest()


def _sort_order(catalogue: pd.DataFrame) -> np.ndarray:
    """Row numbers by split, then path (by code point, whatever the locale)."""
    rank = {split: position for position, split in enumerate(SPLITS)}
    keys = zip(catalogue["split"], catalogue["path"], strict=True)
    keyed = [(rank.get(split, len(SPLITS)), str(path)) for split, path in keys]
    return np.array(sorted(range(len(keyed)), key=keyed.__getitem__), dtype=np.int64)


def _is_utf8(path: str) -> bool:
    """Whether a file name is text; Python stands lone surrogates in for bytes that are not."""
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _explain(error: ValidationError, catalogue: pd.DataFrame) -> str:
    """The first row of `catalogue` that is not a `Row`, in words."""
    first: Any = error.errors(include_url=False)[0]
    row, column = first["loc"][:2]
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    path = one_line(catalogue["path"].iloc[row])
    return (
        f"row {row + 1} ({path}): {COLUMNS[column]} must be {rule}, got {first['input']!r}{_more(error.error_count())}"
    )


def _reject(catalogue: pd.DataFrame, bad: pd.Series, source: str, rule: str) -> None:
    rows = np.flatnonzero(bad.to_numpy())
    if len(rows):
        path = one_line(catalogue["path"].iloc[rows[0]])
        raise UserError(f"{source}: row {rows[0] + 1} ({path}): {rule}{_more(len(rows))}")


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
