"""The scores of models on several data sets as one run in MLflow."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pipeline.evaluation.metrics import METRICS
from pipeline.tracking.runs import start_run
from pipeline.tracking.studies import metric_name

KIND = "cross"  # value of the tag `kind`


def log_across(checkout: Path, table: pd.DataFrame, files: Iterable[Path]) -> str:
    """Adds a run with the scores `<model> on <data set> <metric>`, the models' files as parameters, and `files`.

    Args:
        checkout: see `pipeline.tracking.start_run`.
        table: as from `inference.across.score_across`.
        files: to keep with it.

    Returns:
        The name of the run.
    """
    models = {metric_name(model): file for model, file in zip(table["model"], table["file"], strict=True)}
    datasets = list(dict.fromkeys(table["dataset"]))
    name = f"{KIND}: {len(models)} {'model' if len(models) == 1 else 'models'} on {', '.join(datasets)}"
    run = start_run(checkout, name=name, settings={"on": ",".join(datasets), "model": models}, tags={"kind": KIND})
    scores = {
        f"{metric_name(f'{row.model} on {row.dataset}')}_{key}": getattr(row, key)
        for row in table.itertuples()
        for key in METRICS
    }
    run.log_scores(scores)
    for file in files:
        run.log_artifact(file)
    run.end()
    return name
