"""One parent run per study; the runs of its trainings are its children.

A training belongs to the study that it was made for. Where another study comes to the same training, DVC restores it,
and its run stays where it is: it then carries the tag `study.<name>`, which finds the runs of each study alike.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.tracking.runs import Run
from pipeline.tracking.server import answering, find_experiment, open_client

PARENT = "mlflow.parentRunId"


class StudyRun(Run):
    """The parent run of a study."""

    def __init__(self, run: Run, study: str) -> None:
        super().__init__(run.client, run.id)
        self.study = study

    def tags_of_child(self, variant: str, seed: int) -> dict[str, str]:
        """Tags that a training of the study is given when it starts."""
        return {
            PARENT: self.id,
            "study": self.study,
            "variant": variant,
            "seed": str(seed),
            f"study.{self.study}": variant,
        }

    def adopt(self, run_id: str, variant: str, seed: int) -> bool:
        """Gives these tags to the run of a training that was made before; a child of another study remains one.

        Returns:
            False if MLflow does not know the run.
        """
        from mlflow.exceptions import MlflowException

        with self.answering():
            try:
                run = self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
            tags = self.tags_of_child(variant, seed)
            if run.data.tags.get(PARENT, self.id) != self.id:
                tags = {f"study.{self.study}": variant}
            for key, value in tags.items():
                if run.data.tags.get(key) != value:
                    self.client.set_tag(run_id, key, value)
        return True

    def log_summary(self, values: Mapping[str, float]) -> None:
        """Puts the numbers of the comparison beside each other in the parent run."""
        self.log_scores({metric_name(key): value for key, value in values.items()})


def open_study(checkout: Path, name: str, *, title: str, description: str, key: str) -> StudyRun:
    """The parent run of a study: the one that there is for this `key`, else a new one.

    Args:
        checkout: see `pipeline.tracking.start_run`.
        name: of the study.
        title, description: shown in the run.
        key: stands for all the settings of the study; with others, it is another study.
    """
    client = open_client(checkout)
    own = f"tags.study = '{name}' and tags.`study.key` = '{key}'"
    tags = {"study": name, "study.key": key, "mlflow.note.content": f"**{title}**\n\n{description}".strip()}
    with answering(client.tracking_uri, "takes no run"):
        experiment = find_experiment(client, checkout)
        for known in client.search_runs([experiment], own, max_results=1):
            client.update_run(known.info.run_id, status="RUNNING")
            return StudyRun(Run(client, known.info.run_id), name)
        run = client.create_run(experiment, run_name=name, tags=tags)
        return StudyRun(Run(client, run.info.run_id), name)


def metric_name(text: str) -> str:
    """`text` with those characters alone that MLflow takes in the name of a metric."""
    kept = "".join(each if each.isalnum() or each in "_-. /:" else "_" for each in text)
    return kept.strip()
