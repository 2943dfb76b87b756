"""What the experiments of a study came to, read from their revisions, and its mean and spread over the seeds."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.study.experiments import Experiment

# Column -> where it stands in metrics.json. Shares are in [0, 1].
SCORES = {
    "student_mAP": ("student", "mAP"),
    "student_rank1": ("student", "rank1"),
    "student_rank5": ("student", "rank5"),
    "student_rank10": ("student", "rank10"),
    "student_mINP": ("student", "mINP"),
    "teacher_mAP": ("teacher", "mAP"),
    "teacher_rank1": ("teacher", "rank1"),
    "student_best_mAP": ("student_best_of_run", "mAP"),
    "teacher_best_mAP": ("teacher_best_of_run", "mAP"),
}
# Column -> column of training.csv, of which the last epoch counts.
LAST_EPOCH = {
    "clusters": "num_clusters",
    "outliers": "num_outliers",
    "ari": "ari",
    "purity": "purity",
    "pairwise_f": "pairwise_f",
}
MEASURED = (*SCORES, *LAST_EPOCH, "minutes")


@dataclass(frozen=True, eq=False)
class Result:
    """One experiment that ended well.

    Attributes:
        experiment, commit: which one, and where it is.
        run: MLflow's id and name of its training.
        figures: the columns `MEASURED`, NaN where there is no such number.
        history: training.csv, one row an epoch.
    """

    experiment: Experiment
    commit: str
    run: dict[str, str]
    figures: dict[str, float]
    history: pd.DataFrame

    def told(self) -> str:
        """For a person: `student mAP 40.4%`."""
        mean_ap = self.figures["student_mAP"]
        return "not evaluated" if math.isnan(mean_ap) else f"student mAP {mean_ap:.1%}"


def read_result(experiment: Experiment, commit: str) -> Result:
    """Reads what an experiment's stages wrote, from git or from DVC's cache, wherever it is kept.

    Raises:
        UserError: a file is missing or damaged.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    files = DVCFileSystem(rev=commit)
    texts = {}
    for path in ("reports/metrics.json", "reports/training.csv", "data/model/run.json"):
        try:
            texts[path] = files.read_text(path, encoding="utf-8")
        except (OSError, DvcException) as error:
            raise UserError(f"experiment {experiment.name}: {path} cannot be read ({error})") from error
    try:
        metrics, run = json.loads(texts["reports/metrics.json"]), json.loads(texts["data/model/run.json"])
        history = pd.read_csv(io.StringIO(texts["reports/training.csv"]))
    except ValueError as error:
        raise UserError(f"experiment {experiment.name}: its results are damaged ({error})") from error
    return Result(experiment, commit, run, measured(metrics, history), history)


def measured(metrics: dict[str, Any], history: pd.DataFrame) -> dict[str, float]:
    """The figures of one run that a comparison shows; NaN where a run has none (no teacher, no identities)."""
    scores = {name: float(metrics.get(who, {}).get(what, math.nan)) for name, (who, what) in SCORES.items()}
    last = history.iloc[-1] if len(history) else pd.Series(dtype=float)
    epochs = {name: float(last.get(column, math.nan)) for name, column in LAST_EPOCH.items()}
    minutes = float(history["seconds"].sum()) / 60 if "seconds" in history else math.nan
    return {**scores, **epochs, "minutes": minutes}


def runs_table(results: Sequence[Result], differing: Sequence[str]) -> pd.DataFrame:
    """One row a run: variant, seed, the settings that differ, what was measured, and where the run is found."""
    rows = [
        {
            "variant": result.experiment.variant,
            "seed": result.experiment.seed,
            **{key: result.experiment.settings.get(key) for key in differing},
            **result.figures,
            "experiment": result.experiment.name,
            "revision": result.commit,
            "mlflow_run": result.run["run_id"],
        }
        for result in results
    ]
    columns = ["variant", "seed", *differing, *MEASURED, "experiment", "revision", "mlflow_run"]
    return pd.DataFrame(rows, columns=columns)


def histories(results: Sequence[Result]) -> pd.DataFrame:
    """training.csv of all the runs below each other, with `variant` and `seed` before its columns."""
    tables = [
        result.history.assign(variant=result.experiment.variant, seed=result.experiment.seed) for result in results
    ]
    together = pd.concat(tables, ignore_index=True)
    first = ["variant", "seed"]
    return together[[*first, *(name for name in together.columns if name not in first)]]


def summarise(runs: pd.DataFrame, settings: pd.DataFrame, *, wanted: int) -> pd.DataFrame:
    """Mean and spread of every variant over its seeds.

    Args:
        runs: see `runs_table`.
        settings: index: the variants, in order; columns: the settings that differ.
        wanted: seeds that each variant should have.

    Returns:
        one row a variant: `variant`, the settings, `seeds` (that there are), `seeds_wanted`, and `<name>_mean` and
        `<name>_std` (of a sample: divided by n - 1; NaN for one seed) of every measured column.
    """
    rows = []
    for variant, values in settings.iterrows():
        here = runs[runs["variant"] == variant]
        row: dict[str, Any] = {
            "variant": variant,
            **dict(zip(settings.columns, values, strict=True)),
            "seeds": len(here),
            "seeds_wanted": wanted,
        }
        for name in MEASURED:
            known = here[name].dropna().astype(float)
            row |= {f"{name}_mean": known.mean(), f"{name}_std": known.std(ddof=1) if len(known) > 1 else math.nan}
        rows.append(row)
    return pd.DataFrame(rows)
