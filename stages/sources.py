"""The data set and the file of weights as they lie on disk, which DVC does not track: their digests."""

from pathlib import Path
from typing import Any

import stages
from pipeline.common import paths
from pipeline.common.contents import is_record_of, record_contents
from pipeline.common.files import sha256
from pipeline.config.load import read_source_settings
from pipeline.config.schema import OWN_IMAGES, PRETRAINED_WORDS, SourceSettings
from pipeline.config.uncommitted import uncommitted_line


def sources() -> None:
    """Looks what the stages `prepare` and `pretrained` will read; runs at every `dvc repro`, quickly.

    Reads params.yaml (dataset, union, own, synthetic, pretrained), the data set's folder below data/raw/, which is
    generated or unpacked first where that can be done, and the file of weights if `pretrained` names one. Writes
    data/dataset.json and data/weights.json: digests, by which DVC sees that something has changed. What is not on
    this machine keeps the digest that it had, so that results can be taken over without their sources.
    """
    from pipeline.preparation.links import CORRECTIONS
    from pipeline.preparation.placing import place
    from pipeline.preparation.union import folder_of, folders_of, parts_of

    settings = read_source_settings()
    if line := uncommitted_line(Path("params.yaml")):
        print(line)
    paths.require_real_folders()
    if paths.in_workspace():
        for table in (paths.BAD_IMAGES, paths.CONTRADICTIONS):  # of a run that failed
            table.unlink(missing_ok=True)
    parts, memory = parts_of(settings), paths.scratch() / "contents"
    identities = {part.dataset: _identity(part) for part in parts}
    identity = identities.get(settings.dataset, {"dataset": settings.dataset, "members": identities})
    if len(parts) > 1 and (corrections := folder_of(settings) / CORRECTIONS).is_file():
        identity["corrections"] = sha256(corrections)
    for part in parts:
        if part.dataset != "synthetic" or folder_of(part).exists() or not is_record_of(paths.DATASET_STATE, identity):
            place(part)
    record_contents(paths.DATASET_STATE, identity, folders_of(settings), memory=memory)
    weights = None if settings.pretrained in PRETRAINED_WORDS else paths.checkout() / settings.pretrained
    record_contents(paths.WEIGHTS_STATE, {"pretrained": settings.pretrained}, weights, memory=memory)


def _identity(settings: SourceSettings) -> dict[str, Any]:
    """What tells a data set from another one before its files are looked at."""
    identity: dict[str, Any] = {"dataset": settings.dataset}
    if settings.dataset == "synthetic":
        identity |= settings.synthetic.model_dump()
    if settings.dataset in OWN_IMAGES:
        identity["folder"] = settings.own.folder
    return identity


if __name__ == "__main__":
    stages.run(sources)
