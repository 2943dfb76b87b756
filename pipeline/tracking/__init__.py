"""MLflow: a run for each training, and its model in the registry. The only import of mlflow."""

from pipeline.tracking.runs import EXPERIMENT, NoRun, Run, open_run, start_run, tracked

__all__ = ["EXPERIMENT", "NoRun", "Run", "open_run", "start_run", "tracked"]
