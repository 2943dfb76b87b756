"""The model of the last run as a version in MLflow's registry. No stage of dvc.yaml."""

import stages
from pipeline.common import paths
from pipeline.common.files import read_json, sha256


def register() -> None:
    """Makes the trained student a version of <method>-<data set>-<backbone>, with its scores; asked again, no second.

    Reads data/prepared/, data/model/ and reports/metrics.json. Writes into MLflow: the model into the run that trained
    it, the version into the registry, and the alias `best` (docs/tracking.md).
    """
    from pipeline.datasets.packed_images import PackedImages
    from pipeline.evaluation.candidates import summary_of
    from pipeline.model.saved import data_name_of, load_network
    from pipeline.tracking import open_run
    from pipeline.tracking.registry import register_model, registered_name

    file, training = paths.TRAINED, read_json(paths.MODEL / "run.json")
    student, made_by = load_network(file, role="student")
    scores = summary_of(read_json(paths.REPORTS / "metrics.json"))
    run = open_run(paths.checkout(), training["run_id"], name=training["name"], settings=stages.settings().as_dict())
    address = register_model(
        run,
        file,
        name=registered_name({**made_by, "dataset": data_name_of(made_by)}),
        digest=sha256(file),
        num_features=student.num_features,
        example=PackedImages(paths.PREPARED).catalogue["path"].iloc[0],
        tags={"role": "student", "data.digest": read_json(paths.PREPARED / "summary.json")["digest"]},
        scores=scores,
    )
    print(f"in MLflow: {address}")


if __name__ == "__main__":
    stages.run(register)
