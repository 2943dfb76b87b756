"""Folders as programs that unpack leave them: one in another of the same name, beside files that are no data."""

from pathlib import Path

from pipeline.common.contents import is_of_a_file_manager


def data_in(folder: Path) -> list[Path]:
    """What a folder holds, hidden files and those that file managers leave behind apart."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name != "__MACOSX" and not is_of_a_file_manager(path.name)
    )


def unnested(folder: Path) -> Path:
    """The folder itself or, if all that it holds is a folder of the same name, that one, and so on.

    Case does not matter. There need be no such folder.
    """
    while folder.is_dir():
        held = data_in(folder)
        if len(held) != 1 or not held[0].is_dir() or held[0].is_symlink():
            break
        if held[0].name.casefold() != folder.name.casefold():
            break
        folder = held[0]
    return folder
