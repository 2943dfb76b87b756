"""What the tests of damaged files share."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.common.errors import UserError


def outcome(read: Callable[[Path], None], path: Path) -> str:
    """ "read", or the one line that the user sees; whatever else is raised is a fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except UserError as error:
        assert str(error).isprintable(), str(error)
        return str(error)
    return "read"


@pytest.fixture
def survive(tmp_path: Path) -> Callable[[Callable[[Path], None], bytes, str], None]:
    """`survive(read, content, name)`: `content` as a file of that name is read, or refused in one line."""

    def run(read: Callable[[Path], None], content: bytes, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        try:
            outcome(read, path)
        except Exception:
            kept = path.with_name(f"kept-{name}")
            path.replace(kept)
            print(f"the file is kept: {kept}")
            raise
        assert path.read_bytes() == content  # a reader changes nothing

    return run
