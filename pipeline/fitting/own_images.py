"""From a folder of one's own images to a params.yaml that fits it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.common.errors import UserError
from pipeline.common.yaml_file import with_values
from pipeline.config.load import Settings, read_settings, read_source_settings
from pipeline.config.schema import OWN_IMAGES, Own, data_name
from pipeline.fitting.crops import Crops, look
from pipeline.methods import METHODS
from pipeline.preparation.placing import place, reader_options
from pipeline.preparation.readers import Source, open_dataset

_NONE, _TABLE = "none", "images.csv"


@dataclass(frozen=True)
class OwnImages:
    """A folder of images and the params.yaml that is to fit it.

    Attributes:
        file: params.yaml.
        where: settings that say where the images are.
        source: the images.
        crops: what they are like.
    """

    file: Path
    where: dict[str, Any]
    source: Source
    crops: Crops

    @property
    def name(self) -> str:
        """Of the folder."""
        return data_name(str(self.where["dataset"]), str(self.where["own.folder"]))

    def changed(self, values: Mapping[str, Any]) -> tuple[str, Settings]:
        """The text of params.yaml with other values on top of `where`, and the settings that it comes to.

        Raises:
            UserError: there is no such setting, or the values do not fit what else params.yaml says.
        """
        text = with_values(self.file.read_text(encoding="utf-8"), {**self.where, **values}, self.file)
        return text, read_settings(self.file, methods=METHODS, text=text)


def open_own_images(
    folder: str, *, raw: Path, file: Path, table: str | None, camera: str | None, tracklet: str | None
) -> OwnImages:
    """Reads what lies in a folder below `raw`: a table if there is one, else all images.

    Args:
        folder: as `own.folder`, or as a path that leads below `raw`.
        raw: the folder of raw data.
        file: params.yaml; what it says of cameras, tracklets and the table holds if it is about the same folder.
        table, camera, tracklet: as the settings `own.*`; None = as said there, else a table of the usual name if there
            is one, and neither cameras nor tracklets.

    Raises:
        UserError: see `open_dataset` and `look`; or the folder lies elsewhere, or a setting is none.
    """
    now = read_source_settings(file)
    name = _below(folder, raw)
    same = now.own.folder == name and now.dataset in OWN_IMAGES
    known = now.own.model_dump() if same else {"table": _TABLE, "camera": _NONE, "tracklet": _NONE}
    told = {key: value for key, value in {"table": table, "camera": camera, "tracklet": tracklet}.items() if value}
    try:
        own = Own.model_validate({**known, **told, "folder": name})
    except ValidationError as error:
        raise UserError(f"{folder!r}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    if not (raw / name).is_dir():
        place(now.model_copy(update={"dataset": "folder", "own": own}))  # its archive may be there
    if not (raw / name).is_dir():
        raise UserError(f"{raw / name} is missing: put your images there")
    is_table = table is not None or (raw / name / own.table).is_file()
    if is_table and (camera or tracklet):
        raise UserError(f"{raw / name / own.table} tells cameras and tracklets: leave out --camera and --tracklet")
    dataset = "csv" if is_table else "folder"
    options = reader_options(now.model_copy(update={"own": own}))
    source = open_dataset(dataset, raw, options=options)
    where = {
        "dataset": dataset,
        "recipe": "dataset",
        **{f"own.{key}": value for key, value in own.model_dump().items()},
    }
    return OwnImages(file, where, source, look(source, follow_links=options.follow_links))


def _below(folder: str, raw: Path) -> str:
    """The name of `folder` as `own.folder` has it: it may be a path from here."""
    given = Path(folder).expanduser().absolute()
    if (raw / folder).is_dir() and not Path(folder).is_absolute():
        return folder.strip("/")
    if given.is_dir() and (not given.is_relative_to(raw.absolute()) or given == raw.absolute()):
        raise UserError(f"{folder} does not lie below {raw}", f"link it: ln -s {given} {raw}/")
    return given.relative_to(raw.absolute()).as_posix() if given.is_relative_to(raw.absolute()) else folder.strip("/")
