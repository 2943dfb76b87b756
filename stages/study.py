"""Variants of one experiment over several seeds, compared. No stage of dvc.yaml: it starts the stages many times."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import pipeline.common.paths as paths
import stages
from pipeline.common.errors import UserError
from pipeline.common.locks import locked

if TYPE_CHECKING:
    from pipeline.study import Planned, Result
    from pipeline.tracking.studies import StudyRun


def study(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to compare: studies/ablation.yaml, ...")],
    seeds: Annotated[str | None, typer.Option(help="Instead of the file's, such as 1,2,3.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a run; may be given several times.")] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time, which share the cores (and so round otherwise).")] = 1,
    output: Annotated[Path, typer.Option(help="Where the results go: a path without a suffix.")] = paths.COMPARISON,
    compare_only: Annotated[bool, typer.Option("--compare-only", help="Train nothing: compare what there is.")] = False,
) -> None:
    """Trains every run of a study with every seed, each as a DVC experiment, and compares them.

    Code and settings count as they stand in the working copy when the command starts. Writes <output>.html (one page),
    <output>/*.png (its figures), <output>.csv (one row per run of the file: mean and standard deviation over the
    seeds), <output>_runs.csv (one row per training), and one MLflow run, whose children are the trainings. Started
    again, it does what is missing: what failed, what was stopped, other seeds.
    """
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {jobs}")
    if output.suffix:
        raise UserError(f"--output must have no suffix, got {output}: the results are {output.stem}.html, .csv, ...")
    paths.require_own_place(output)
    from pipeline.study import Outcome, Surroundings, plan_file, read_results, train_missing
    from pipeline.tracking.children import STUDY_VARIABLE
    from pipeline.tracking.studies import open_study

    planned, say = plan_file(file, seeds=seeds, only=only), partial(print, flush=True)
    asked, checkout, scratch = planned.study, paths.checkout(), paths.scratch() / "studies"
    for name, other in planned.same.items():
        say(f"{name}: the same settings as {other}, which stands for it")
    with locked(scratch / "lock", taken="another study is running in this checkout: wait for it"):
        results, outcome, status = read_results(planned), Outcome(len(planned.experiments)), "FAILED"
        say(f"{asked.title}: {outcome.total} experiments, {len(results)} of them exist already")
        parent = open_study(checkout, asked.name, title=asked.title, description=asked.description, key=planned.key)
        try:
            if not compare_only:
                around = Surroundings(checkout, scratch, variable=STUDY_VARIABLE, tags=parent.tags_of_child)
                outcome = train_missing(planned, results, jobs=jobs, around=around, say=say)
            if results:
                _publish(planned, results, parent, output=output)
            status = outcome.status
        finally:
            parent.end(status)
    outcome.require_success()
    if not results:
        raise UserError(f"{file}: none of its experiments exists")


def _publish(planned: "Planned", results: dict[str, "Result"], parent: "StudyRun", *, output: Path) -> None:
    """Writes the comparison, and puts it and the trainings into the study's run."""
    from pipeline.report.study_page import named_numbers, printed, write_comparison
    from pipeline.study import compare, head

    for name, result in results.items():
        if not parent.adopt(result.run["run_id"], result.experiment.variant, result.experiment.seed):
            typer.echo(f"warning: MLflow does not know the run of {name}", err=True)
    provenance = {"Study": planned.study.name, "Revision": head(), "MLflow run": parent.id}
    data = compare(planned, results, provenance=provenance)
    for path in write_comparison(data, output):
        parent.log_artifact(path, path.name if path.is_dir() else None)
    parent.log_summary(named_numbers(data.summary))
    print("\n".join([*printed(data.summary), f"written: {output}.html"]))


if __name__ == "__main__":
    stages.run(study)
