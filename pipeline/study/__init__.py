"""Studies: variants of one experiment over several seeds, as DVC experiments."""

from pipeline.study.experiments import Experiment, Planned, current, head, plan, plan_file, seeds_of, settings_table
from pipeline.study.missing import Outcome, Surroundings, read_results, train_missing
from pipeline.study.outcomes import Result, compare, histories, read_result, runs_table, summarise
from pipeline.study.study_file import Study, read_study

__all__ = [
    "Experiment",
    "Outcome",
    "Planned",
    "Result",
    "Study",
    "Surroundings",
    "compare",
    "current",
    "head",
    "histories",
    "plan",
    "plan_file",
    "read_result",
    "read_results",
    "read_study",
    "runs_table",
    "seeds_of",
    "settings_table",
    "summarise",
    "train_missing",
]
