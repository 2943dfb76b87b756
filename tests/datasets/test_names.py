"""What the user calls identities and cameras."""

from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.datasets.names import NAMES, Names, read_names


def test_names_are_kept(tmp_path: Path) -> None:
    names = Names({1: "Füchse", 2: "=1+1"}, {7: "north\x9b31m\u202egate"})
    names.write(tmp_path)
    assert read_names(tmp_path) == names
    assert names.identity(1) == "Füchse" and names.identity(3) == 3
    assert names.camera(7) == r"'north\x9b31m\u202egate'" and names.camera(1) == 1


def test_no_names_leave_no_file(tmp_path: Path) -> None:
    Names().write(tmp_path)
    assert not (tmp_path / NAMES).exists() and read_names(tmp_path) == Names()


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"identities": {"a": "b"}, "cameras": {}}', '{"identities": 1, "cameras": {}}']
)
def test_damaged_names_are_one_line(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / NAMES, text)
    with pytest.raises(UserError, match=r"names\.json is damaged: run the prepare stage again"):
        read_names(tmp_path)
