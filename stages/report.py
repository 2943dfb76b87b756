"""What a user looks at: one page and its figures."""

import pipeline.common.paths as paths
import stages
from pipeline.common.files import read_json


def report() -> None:
    """Draws the run: results, learning curves, CMC, ranked lists.

    Reads params.yaml, data/prepared/, data/pretrained/, data/model/, data/evaluation/, reports/metrics.json, cmc.csv,
    clusters.csv and training.csv. Writes reports/report.html, one page that needs no network, and
    reports/figures/*.png; both go into the MLflow run.
    """
    from pipeline.report import read_report, write_report
    from pipeline.tracking import open_run

    settings = stages.settings()
    data = read_report(
        prepared=paths.PREPARED,
        pretrained=paths.PRETRAINED,
        model=paths.MODEL,
        evaluation=paths.EVALUATION,
        reports=paths.REPORTS,
    )
    write_report(data, paths.REPORTS)
    training = read_json(paths.MODEL / "run.json")
    run = open_run(paths.checkout(), training["run_id"], name=training["name"], settings=settings.as_dict())
    for path in (paths.REPORTS / name for name in ("report.html", "figures", "metrics.json", "clusters.csv")):
        run.log_artifact(path, path.name if path.is_dir() else None)
    if data.verdict is not None:
        run.tag("clusters.verdict", f"{data.verdict.kind}: {data.verdict.text}")
        print(f"without labels: {data.verdict.text}")


if __name__ == "__main__":
    stages.run(report, watched=())
