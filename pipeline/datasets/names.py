"""What the user calls the identities and cameras that a catalogue numbers: for whoever looks at results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json
from pipeline.common.text import one_line

NAMES = "names.json"  # in a prepared folder, where anything in it has a name
_COLUMNS = ("identities", "cameras")


@dataclass(frozen=True)
class Names:
    """Number -> name; a number that stands for itself is not in it.

    Attributes:
        identities: of the column `pid`.
        cameras: of the column `camid`.
    """

    identities: Mapping[int, str] = field(default_factory=dict)
    cameras: Mapping[int, str] = field(default_factory=dict)

    def identity(self, pid: int) -> int | str:
        """The name of an identity in one line, or its number."""
        return _shown(self.identities, pid)

    def camera(self, camid: int) -> int | str:
        """The name of a camera in one line, or its number."""
        return _shown(self.cameras, camid)

    def write(self, folder: Path) -> None:
        """Writes them into a prepared folder, if there are any."""
        if self.identities or self.cameras:
            columns = (dict(self.identities), dict(self.cameras))
            write_json(folder / NAMES, dict(zip(_COLUMNS, columns, strict=True)))


def read_names(folder: Path) -> Names:
    """Reads what `Names.write` left in the prepared folder `folder`; none if it left nothing.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / NAMES
    if not path.is_file():
        return Names()
    found = read_json(path)
    try:
        return Names(*({int(key): str(name) for key, name in found[column].items()} for column in _COLUMNS))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: run the prepare stage again") from error


def _shown(names: Mapping[int, str], number: int) -> int | str:
    return one_line(names[number]) if number in names else number
