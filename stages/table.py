"""All experiments in one table for the terminal. No stage of dvc.yaml."""

import shutil

import pipeline.common.paths as paths
import stages


def table() -> None:
    """Prints the experiments of all commits: their scores, and the settings that each of them changed."""
    from pipeline.study.overview import overview, rows_of, show_experiments

    rows = rows_of(show_experiments(paths.checkout()))
    print("\n".join(overview(rows, width=shutil.get_terminal_size((120, 24)).columns)))


if __name__ == "__main__":
    stages.run(table)
