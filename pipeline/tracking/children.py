"""How a training knows that it belongs to a study: from a file that the study's command names in the environment."""

import os
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.files import read_json

STUDY_VARIABLE = "REID_STUDY"  # path of a JSON file: name of an experiment in DVC -> tags of its run


def study_tags(experiment: str | None) -> dict[str, str]:
    """Tags of the run of `experiment`, the parent run among them; none where it belongs to no study.

    Raises:
        UserError: the file that the environment names is missing or damaged.
    """
    file = os.environ.get(STUDY_VARIABLE)
    if not file or not experiment:
        return {}
    if not Path(file).is_file():
        raise UserError(f"{STUDY_VARIABLE} names {file}, which is missing: start the study again")
    return dict(read_json(Path(file)).get(experiment, {}))
