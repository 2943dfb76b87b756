"""One reader a layout: `READERS[name](folder)` returns the catalogue of the data set in `folder`."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipeline.datasets.catalogue import SPLITS
from pipeline.datasets.readers import dukemtmc, market1501, msmt17
from pipeline.errors import UserError

Reader = Callable[[Path], pd.DataFrame]

READERS: dict[str, Reader] = {
    "synthetic": market1501.read,
    "market1501": market1501.read,
    "dukemtmc": dukemtmc.read,
    "dukemtmcreid": dukemtmc.read,
    "msmt17": msmt17.read,
}

# Below the folder of raw data; of several, the first that exists, and the first of all to tell a person about.
_FOLDERS: dict[str, tuple[str, ...]] = {
    "synthetic": ("synthetic",),
    "market1501": ("market1501/Market-1501-v15.09.15",),
    "dukemtmc": ("dukemtmcreid/DukeMTMC-reID",),
    "dukemtmcreid": ("dukemtmcreid/DukeMTMC-reID",),
    "msmt17": ("msmt17/MSMT17_V1", "msmt17/MSMT17_V2"),
}

# Images of train, query and gallery as published (junk not counted).
PUBLISHED_COUNTS: dict[str, dict[str, int]] = {
    "market1501": market1501.COUNTS,
    "dukemtmc": dukemtmc.COUNTS,
    "dukemtmcreid": dukemtmc.COUNTS,
    "msmt17": msmt17.COUNTS,
}


def dataset_folder(name: str, raw: Path) -> Path:
    """Returns the folder below `raw` in which the data set `name` is looked for; it need not exist.

    Raises:
        UserError: there is no such data set.
    """
    if name not in READERS:
        raise UserError(f"dataset must be one of {', '.join(sorted(READERS))}, got {name!r}")
    candidates = [Path(raw) / folder for folder in _FOLDERS[name]]
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])


def count_warning(name: str, catalogue: pd.DataFrame) -> str | None:
    """Returns one line if the numbers of images differ from the published ones, else None.

    A subset may be intended, so this stops nobody; a truncated download should not go unnoticed.
    """
    published = PUBLISHED_COUNTS.get(name)
    counts = {split: int((catalogue["split"] == split).sum()) for split in SPLITS}
    if published is None or counts == published:
        return None
    found, expected = (", ".join(f"{c[split]:,} {split}" for split in SPLITS) for c in (counts, published))
    return f"{name} holds {found} images; published: {expected}. A subset is fine, a truncated download is not."
