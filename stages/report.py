"""What a user looks at: one page and its figures."""

import pipeline.common.paths as paths
import stages
from pipeline.common.files import read_json, sha256


def report() -> None:
    """Draws the run: results, learning curves, CMC, ranked lists.

    Reads params.yaml, data/prepared/, data/pretrained/, data/model/, data/evaluation/, reports/metrics.json, cmc.csv,
    clusters.csv and training.csv. Writes reports/report.html, one page that needs no network, and
    reports/figures/*.png; both go into the MLflow run, and the model becomes a version in MLflow's registry.
    """
    from pipeline.datasets.packed_images import PackedImages
    from pipeline.evaluation.candidates import summary_of
    from pipeline.model.saved import load_network
    from pipeline.report import read_report, write_report
    from pipeline.tracking import open_run
    from pipeline.tracking.registry import register_model, registered_name

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
    student, made_by = load_network(paths.TRAINED, role="student")
    model = register_model(
        run,
        paths.TRAINED,
        name=registered_name({**made_by, "dataset": settings.data_name}),
        digest=sha256(paths.TRAINED),
        num_features=student.num_features,
        example=PackedImages(paths.PREPARED).catalogue["path"].iloc[0],
        tags={"role": "student", "data.digest": read_json(paths.PREPARED / "summary.json")["digest"]},
        scores=summary_of(read_json(paths.REPORTS / "metrics.json")),
    )
    if data.verdict is not None:
        print(f"without labels: {data.verdict.text}")
    print(f"in MLflow: {model}")


if __name__ == "__main__":
    stages.run(report, watched=())
