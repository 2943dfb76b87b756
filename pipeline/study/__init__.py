"""Studies: variants of one experiment over several seeds, as DVC experiments. The only import of dvc."""

from pipeline.study.experiments import (
    Experiment,
    Planned,
    current,
    existing,
    fresh_names,
    head,
    plan,
    seeds_of,
    settings_table,
    uncommitted,
)
from pipeline.study.outcomes import Result, histories, read_result, runs_table, summarise
from pipeline.study.queue import Queue
from pipeline.study.running import Stop, Tally, alone, require_free, run_all
from pipeline.study.study_file import Study, read_study

__all__ = [
    "Experiment",
    "Planned",
    "Queue",
    "Result",
    "Stop",
    "Study",
    "Tally",
    "alone",
    "current",
    "existing",
    "fresh_names",
    "head",
    "histories",
    "plan",
    "read_result",
    "read_study",
    "require_free",
    "run_all",
    "runs_table",
    "seeds_of",
    "settings_table",
    "summarise",
    "uncommitted",
]
