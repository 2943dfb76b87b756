"""The results of the experiments of a study, read from their revisions, with mean and spread over the seeds."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.evaluation.metrics import MAIN
from pipeline.report.study_columns import CLUSTERS, MEASURED, SCORES
from pipeline.report.study_page import ComparisonData
from pipeline.study.experiments import Experiment, Planned, settings_table


@dataclass(frozen=True, eq=False)
class Result:
    """One experiment that ended well.

    Attributes:
        experiment, commit: Which one, and where it is.
        run: MLflow's id and name of its training.
        numbers: The columns `MEASURED`, NaN where there is no such number.
        history: training.csv, one row per epoch.
    """

    experiment: Experiment
    commit: str
    run: dict[str, str]
    numbers: dict[str, float]
    history: pd.DataFrame

    def outcome(self) -> str:
        """For the terminal: `student mAP 40.4%`."""
        score = self.numbers[f"student_{MAIN.key}"]
        return "not evaluated" if math.isnan(score) else f"student {MAIN.heading} {MAIN.percent(score)}%"


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


def compare(planned: Planned, results: Mapping[str, Result], *, provenance: Mapping[str, str]) -> ComparisonData:
    """The comparison of the variants by those of their experiments that have a result (name -> result)."""
    settings = settings_table(planned)
    available = [results[each.name] for each in planned.experiments if each.name in results]
    runs = runs_table(available, list(settings.columns))
    return ComparisonData(
        title=planned.study.title,
        description=planned.study.description,
        dataset=planned.data_names,
        backbone=planned.shared("backbone"),
        settings=tuple(settings.columns),
        summary=summarise(runs, settings, wanted=len({each.seed for each in planned.experiments})),
        runs=runs,
        history=histories(available),
        provenance=provenance,
    )


def measured(metrics: dict[str, Any], history: pd.DataFrame) -> dict[str, float]:
    """The numbers of one run that a comparison shows; NaN for those that a run lacks (no teacher, no identities)."""
    last = history.iloc[-1] if len(history) else pd.Series(dtype=float)
    numbers = {}
    for column in (*SCORES, *CLUSTERS):
        if column.score is not None:
            candidate, metric = column.score
            numbers[column.name] = float(metrics.get(candidate, {}).get(metric, math.nan))
        elif column.history is not None:
            numbers[column.name] = float(last.get(column.history, math.nan))
    numbers["minutes"] = float(history["seconds"].sum()) / 60 if "seconds" in history else math.nan
    return numbers


def runs_table(results: Sequence[Result], differing: Sequence[str]) -> pd.DataFrame:
    """One row per run: variant, seed, the settings that differ, what was measured, and where the run is found."""
    rows = [
        {
            "variant": result.experiment.variant,
            "seed": result.experiment.seed,
            **{key: result.experiment.settings.get(key) for key in differing},
            **result.numbers,
            "experiment": result.experiment.name,
            "revision": result.commit,
            "mlflow_run": result.run["run_id"],
        }
        for result in results
    ]
    columns = ["variant", "seed", *differing, *MEASURED, "experiment", "revision", "mlflow_run"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(MEASURED, float))


def histories(results: Sequence[Result]) -> pd.DataFrame:
    """training.csv of all runs, concatenated, with `variant` and `seed` before its columns."""
    tables = [
        result.history.assign(variant=result.experiment.variant, seed=result.experiment.seed) for result in results
    ]
    together = pd.concat(tables, ignore_index=True)
    first = ["variant", "seed"]
    return together[[*first, *(name for name in together.columns if name not in first)]]


def summarise(runs: pd.DataFrame, settings: pd.DataFrame, *, wanted: int) -> pd.DataFrame:
    """Mean and spread of every variant over its seeds.

    Args:
        runs: See `runs_table`.
        settings: Index: the variants, in order; columns: the settings that differ.
        wanted: Number of seeds that each variant should have.

    Returns:
        One row per variant: `variant`, the settings, `seeds` (that there are), `seeds_wanted`, and `<name>_mean` and
        `<name>_std` (of a sample: divided by n - 1; NaN for one seed) of every measured column.
    """
    by_variant = runs.groupby("variant")[list(MEASURED)]
    statistics = {"mean": by_variant.mean(), "std": by_variant.std(ddof=1)}
    columns = {
        f"{name}_{which}": statistics[which][name].reindex(settings.index) for name in MEASURED for which in statistics
    }
    seeds = runs["variant"].value_counts().reindex(settings.index, fill_value=0)
    table = settings.assign(seeds=seeds, seeds_wanted=wanted)
    return pd.concat([table, pd.DataFrame(columns)], axis="columns").rename_axis("variant").reset_index()
