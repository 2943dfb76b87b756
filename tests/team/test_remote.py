"""The commands of docs/team.md about one store for all, run to the letter: what one person has, the other one gets."""

import json
import re
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.common.files import write_json
from tests.stages.conftest import ROOT
from tests.team.conftest import Checkout, block, copy_of_the_project
from tests.team.services import Store

CACHED = (
    "data/prepared/images.npy",
    "data/pretrained/weights.json",
    "data/model/model.safetensors",
    "data/evaluation/ranked_lists.csv",
    "reports/clusters.csv",
    "reports/report.html",
    "reports/figures/cmc.png",
    "reports/training.csv",
    "reports/cmc.csv",
    "reports/metrics.json",
)
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
SOURCES = {
    "data/dataset.json": {"dataset": "synthetic", **PARAMS["synthetic"]},
    "data/weights.json": {"pretrained": PARAMS["recipes"]["synthetic"]["pretrained"]},
}
IN_GIT = ("reports/summary.json",)
STAGES = ("prepare", "pretrained", "train", "evaluate", "report")


def finish(anna: Checkout, text: str) -> None:
    """The experiment has been run, with files in place of what the stages write: DVC moves bytes, whatever they are."""
    for name in (*CACHED, *IN_GIT):
        (anna.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (anna.folder / name).write_text(f'{{"{name}": "{text}"}}\n', encoding="utf-8")
    for name, identity in SOURCES.items():
        write_json(anna.folder / name, {**identity, "digest": text})
    anna.run("dvc", "commit", "--force", "--with-deps", "report")


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clones of Anna, who has run the experiment, and of Bert, who has not; and the repository that both know."""
    place = tmp_path_factory.mktemp("team")
    anna = Checkout(place / "anna")
    copy_of_the_project(anna.folder)
    for words in (
        "init -q -b main",
        "add -A",
        "commit -qm project",
        "init -q -b main --bare ../server.git",
        "remote add origin ../server.git",
        "push -qu origin main",
        "clone -q ../server.git ../bert",
    ):
        anna.run("git", *words.split())
    Checkout(place / "bert").run("git", "remote", "set-url", "origin", "../server.git")
    finish(anna, "of Anna")
    return place


@pytest.fixture
def team(finished_once: Path, tmp_path: Path) -> tuple[Checkout, Checkout]:
    shutil.copytree(finished_once, tmp_path / "team")
    return Checkout(tmp_path / "team" / "anna"), Checkout(tmp_path / "team" / "bert")


def follow(someone: Checkout, heading: str) -> str:
    return "".join(someone.run(*words) for words in block(heading))


def assert_has_all(bert: Checkout, anna: Checkout, told: str) -> None:
    """Bert's last command had nothing to run, and his results are Anna's."""
    assert re.findall("Running stage '(.*)'", told) == ["sources"]  # which looks whether there are other images here
    assert all(f"Stage '{stage}' didn't change, skipping" in told for stage in STAGES)
    for name in (*CACHED, *SOURCES, *IN_GIT):
        assert (bert.folder / name).read_bytes() == (anna.folder / name).read_bytes(), name


def hand_over_a_result(anna: Checkout, bert: Checkout, connect: str) -> None:
    for person in (anna, bert):
        follow(person, connect)
    follow(anna, "Handing over a result")
    assert_has_all(bert, anna, follow(bert, "Taking over a result"))


def test_results_are_handed_over_through_a_folder(team: tuple[Checkout, Checkout], tmp_path: Path) -> None:
    anna, bert = team
    anna.stands_for = bert.stands_for = {"/shared/reid": str(tmp_path / "shared")}
    hand_over_a_result(anna, bert, "A folder")
    assert len(list((tmp_path / "shared").rglob("*.dir"))) >= len(STAGES) - 1
    assert anna.start(["git", "grep", "-F", str(tmp_path), "origin/main"]).returncode == 1


def test_results_and_experiments_are_handed_over_through_an_object_store(
    team: tuple[Checkout, Checkout], store: Store
) -> None:
    """And no address and no credential gets into git, and without credentials nothing gets into the store."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed (docs/team.md: Installing)")
    store.make_bucket("reid")
    anna, bert = team
    anna.stands_for = bert.stands_for = {"https://s3.example.org": store.address}
    anna.environment = bert.environment = store.login
    hand_over_a_result(anna, bert, "An S3-compatible store")
    assert store.objects("reid").count("<Key>dvc/files/md5/") >= len(CACHED)

    settings = anna.folder / "params.yaml"
    settings.write_text(settings.read_text().replace("\nepochs: recipe", "\nepochs: 3"))
    finish(anna, "of the experiment")
    run, push = block("Handing over an experiment")
    assert run[:5] == ["uv", "run", "dvc", "exp", "run"]  # what it leaves behind takes its place
    anna.run("dvc", "exp", "save", "-n", run[run.index("-n") + 1])
    refused = anna.start(push, AWS_ACCESS_KEY_ID="")
    assert refused.returncode != 0 and "Unable to locate credentials" in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    anna.run(*push)
    assert_has_all(bert, anna, follow(bert, "Taking over an experiment"))
    assert json.loads((bert.folder / IN_GIT[0]).read_text()) == {IN_GIT[0]: "of the experiment"}
    assert "\nepochs: 3" in (bert.folder / "params.yaml").read_text()

    for secret in (store.address, store.login["AWS_SECRET_ACCESS_KEY"]):
        assert anna.start(["git", "grep", "-F", secret, "HEAD", "origin/main"]).returncode == 1
