"""Where things lie: what a stage reads and writes in the working copy, and what belongs to the user's own checkout.

`dvc exp run --temp` and `--queue` run the stages in a copy of the project that holds only what git and DVC track, and
set DVC_ROOT to the checkout that the user stands in. Raw data, the MLflow database and interrupted trainings are
there: one for all copies. Everything else is relative to the current folder.
"""

import os
import shutil
from pathlib import Path

from pipeline.common.errors import UserError

DATASET_STATE = Path("data/dataset.json")
WEIGHTS_STATE = Path("data/weights.json")
PREPARED = Path("data/prepared")
PRETRAINED = Path("data/pretrained")
MODEL = Path("data/model")
TRAINED = MODEL / "model.safetensors"  # the networks of the last run
EVALUATION = Path("data/evaluation")
REPORTS = Path("reports")
COMPARISON = REPORTS / "comparison"  # of a study: with .html, .csv, ..., and the folder of its figures
BAD_IMAGES = Path("data/bad_images.csv")  # of a `prepare` that was refused; no result, and not DVC's
CONTRADICTIONS = Path("data/contradictions.csv")  # of a `prepare` that links stopped, likewise
# Stage -> what dvc.yaml names as written by it, in its order.
RESULTS_OF = {
    "sources": (DATASET_STATE, WEIGHTS_STATE),
    "prepare": (PREPARED,),
    "pretrained": (PRETRAINED,),
    "train": (MODEL, REPORTS / "training.csv"),
    "evaluate": (
        EVALUATION,
        *(REPORTS / name for name in ("clusters.csv", "metrics.json", "summary.json", "cmc.csv")),
    ),
    "report": (REPORTS / "report.html", REPORTS / "figures"),
}
RESULTS = tuple(path for paths in RESULTS_OF.values() for path in paths)


def checkout() -> Path:
    """The user's checkout: DVC_ROOT under DVC, else the current folder."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def in_workspace() -> bool:
    """Whether the current folder is the user's checkout, not a copy that DVC removes when the experiment has ended."""
    return checkout() == Path.cwd()


def raw() -> Path:
    """The data sets as they came, one folder each."""
    return checkout() / "data" / "raw"


def scratch() -> Path:
    """What may be deleted at any time: interrupted trainings and downloads."""
    return checkout() / ".scratch"


def require_own_place(path: Path) -> Path:
    """`path`, unless a file that is written there would change what DVC keeps as the result of a stage.

    Raises:
        UserError: it would.
    """
    resolved = path.resolve()
    for result in RESULTS:
        if resolved == result.resolve() or result.resolve() in resolved.parents:
            raise UserError(f"{path} belongs to the results of the stages, which DVC keeps: name another place")
    return path


def require_real_folders() -> None:
    """Raises UserError where git or DVC would replace a link by a folder, or fail on it once the work is done."""
    for folder in (Path("data"), Path("data/raw")):
        if (checkout() / folder).is_symlink():
            raise UserError(
                f"{folder}/ is a link, which git and DVC would break: make it a folder again, and link the data set in "
                "it instead (docs/data.md: data on another disk)"
            )


def discard_results(first: str) -> None:
    """Removes what the stage `first` and those after it have written: a run that fails leaves no other one's results.

    They stay in DVC's cache, from where `dvc checkout` brings back those that dvc.lock names.
    """
    stages = list(RESULTS_OF)
    for stage in stages[stages.index(first) :]:
        for path in RESULTS_OF[stage]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
