"""Variants of one experiment over several seeds, compared. No stage of dvc.yaml: it starts the stages many times."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import pipeline.common.paths as at
import stages
from pipeline.common.errors import UserError
from pipeline.common.files import write_json
from pipeline.report.study_page import ComparisonData, named_numbers, printed, write_comparison
from pipeline.study import (
    Experiment,
    Planned,
    Queue,
    Result,
    Stop,
    Study,
    Tally,
    alone,
    current,
    existing,
    fresh_names,
    head,
    histories,
    plan,
    read_result,
    read_study,
    require_free,
    run_all,
    runs_table,
    seeds_of,
    settings_table,
    summarise,
    uncommitted,
)
from pipeline.tracking.children import STUDY_VARIABLE
from pipeline.tracking.studies import StudyRun, open_study

TARGET = "evaluate"  # the last stage that a comparison needs


def study(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to compare: studies/ablation.yaml, ...")],
    seeds: Annotated[str | None, typer.Option(help="Instead of the file's, such as 1,2,3.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a run; may be given several times.")] = None,
    jobs: Annotated[
        int,
        typer.Option(
            help="Trainings at a time. Each then gets its share of the cores (OMP_NUM_THREADS, unless that is set)."
            " Another number of threads rounds otherwise: compare what was trained with one."
        ),
    ] = 1,
    output: Annotated[Path, typer.Option(help="Where the results go: a path without a suffix.")] = at.COMPARISON,
    compare_only: Annotated[bool, typer.Option("--compare-only", help="Train nothing: compare what there is.")] = False,
) -> None:
    """Trains every run of a study with every seed, each as a DVC experiment, and compares them.

    Reads the study file and params.yaml, on top of which the runs are; code and settings count as they stand in the
    working copy when the command starts. Writes <output>.html (one page that needs no network), <output>/*.png (its
    figures), <output>.csv (a row a run of the file: mean and standard deviation over the seeds), <output>_runs.csv (a
    row a training), and one MLflow run, whose children are the trainings. Started again, it does what is missing: what
    failed, what was stopped, other seeds.
    """
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {jobs}")
    if output.suffix:
        raise UserError(f"--output must have no suffix, got {output}: the results are {output.stem}.html, .csv, ...")
    at.require_own_place(output)
    asked = read_study(file)
    planned = plan(asked, seeds=seeds_of(seeds) if seeds else asked.seeds, source=str(file), only=only)
    for name, other in planned.same.items():
        print(f"{name}: the same settings as {other}, which stands for it")
    with alone(at.scratch() / "studies" / "lock"):
        commits = current(planned.experiments, head())
        print(f"{asked.title}: {len(planned.experiments)} experiments, {len(commits)} of them are there")
        parent = open_study(
            at.checkout(), asked.name, title=asked.title, description=asked.description, key=planned.key
        )
        status = "FAILED"
        try:
            results = {
                each.name: read_result(each, commits[each.name]) for each in planned.experiments if each.name in commits
            }
            failed, complete = ([], True) if compare_only else _train(asked, planned, results, parent, jobs=jobs)
            if results:
                _compare(asked, planned, results, parent, output=output)
            status = "FAILED" if failed else "FINISHED" if complete else "KILLED"
        finally:
            parent.end(status)
    if failed:
        raise UserError(f"{len(failed)} of {len(planned.experiments)} experiments failed: start the same command again")
    if not complete:
        raise UserError("stopped before the end: start the same command again, and it goes on from there")
    if not results:
        raise UserError(f"{file}: none of its experiments is there")


def _train(
    asked: Study, planned: Planned, results: dict[str, Result], parent: StudyRun, *, jobs: int
) -> tuple[list[str], bool]:
    """Adds what is missing to the results; the names of those that failed, and whether all came to an end."""
    missing = [each for each in planned.experiments if each.name not in results]
    if not missing:
        return [], True
    revision, queue = head(), Queue(at.checkout())
    require_free(queue, {each.name for each in missing})
    if changed := uncommitted():
        print(f"used as in the working copy, not as committed: {', '.join(changed)}")
    for name, new in fresh_names(missing, existing(revision)).items():
        queue.rename(name, new)
        print(f"{name} was made with other settings or code: it is called {new} now")
    places = at.scratch() / "studies"
    children, log = places / f"{asked.name}.json", places / f"{asked.name}-workers.log"
    write_json(children, {each.name: parent.tags_of_child(each.variant, each.seed) for each in planned.experiments})
    environment = {STUDY_VARIABLE: str(children)}
    if jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
        environment["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    tally = Tally(total=len(planned.experiments), missing=len(missing))
    failed: list[str] = []

    def ended(experiment: Experiment, well: bool) -> None:
        commit = existing(revision).get(experiment.name) if well else None
        if commit is None:
            failed.append(experiment.name)
            told = f"FAILED, see {queue.log(experiment.name) or log}"
        else:
            results[experiment.name] = read_result(experiment, commit)
            told = results[experiment.name].outcome()
        print(tally.line(f"{experiment.variant}, seed {experiment.seed}: {told}"), flush=True)

    stop = Stop()
    with stop.watched():
        complete = run_all(
            queue,
            missing,
            checkout=at.checkout(),
            jobs=min(jobs, len(missing)),
            target=TARGET,
            environment=environment,
            log=log,
            stop=stop,
            ended=ended,
            tell=print,
        )
    return failed, complete


def _compare(asked: Study, planned: Planned, results: dict[str, Result], parent: StudyRun, *, output: Path) -> None:
    """Writes the comparison, and puts it and the trainings into the study's run."""
    for result in results.values():
        if not parent.adopt(result.run["run_id"], result.experiment.variant, result.experiment.seed):
            print(f"warning: MLflow does not know the run of {result.experiment.name}", file=sys.stderr)
    settings = settings_table(planned)
    there = [results[each.name] for each in planned.experiments if each.name in results]
    runs = runs_table(there, list(settings.columns))
    summary = summarise(runs, settings, wanted=len({each.seed for each in planned.experiments}))
    data = ComparisonData(
        title=asked.title,
        description=asked.description,
        dataset=planned.shared("dataset"),
        backbone=planned.shared("backbone"),
        settings=tuple(settings.columns),
        summary=summary,
        runs=runs,
        history=histories(there),
        provenance={"Study": asked.name, "Revision": head(), "MLflow run": parent.id},
    )
    for path in write_comparison(data, output):
        parent.log_artifact(path, path.name if path.is_dir() else None)
    parent.log_summary(named_numbers(summary))
    for line in printed(summary):
        print(line)
    print(f"written: {output}.html")


if __name__ == "__main__":
    stages.run(study)
