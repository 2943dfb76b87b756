"""Every layout from its files to its report: miniature replicas, trained for an epoch."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.common.files import read_json
from pipeline.config.schema import data_name
from pipeline.datasets.published_counts import PUBLISHED_IDENTITIES, PUBLISHED_IMAGES
from pipeline.preparation.readers.training_only import TRAINING_ONLY
from tests.params_file import change_params
from tests.replicas import REPLICAS, Replica, write_replica
from tests.stages.conftest import ROOT, SMALL, Project

WITHOUT_TEST = dict.fromkeys(("folder", *TRAINING_ONLY), "the data set has no query images")
WITHOUT_CAMERAS = {"vehicleid"}


def project_of(folder: Path, name: str, database: Path) -> tuple[Project, Replica]:
    replica = write_replica(name, folder / "data" / "raw")
    options = replica.options
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copy(database, folder / "mlflow.db")
    own: dict[str, Any] = {
        "own.folder": options.folder,
        "own.table": options.table,
        "own.camera": options.camera or "none",
    }
    own |= {"wildlife.datasets": list(options.members), "wildlife.camera": options.camera_column or "none"}
    small = {**SMALL, "dataset": replica.dataset, "epochs": 1, "model.bn_group": 16, **own}
    change_params(folder / "params.yaml", {**small, "vehicleid.test_size": options.test_size})
    return Project(folder), replica


@pytest.mark.parametrize("name", sorted(REPLICAS))
def test_layout_is_prepared_trained_and_evaluated(name: str, tmp_path: Path, mlflow_database: Path) -> None:
    project, replica = project_of(tmp_path, name, mlflow_database)
    told = project.here("prepare")
    assert f"{data_name(replica.dataset, replica.options.folder)}: {len(replica.rows)} images" in told
    if replica.dataset in {**PUBLISHED_IMAGES, **PUBLISHED_IDENTITIES}:
        assert "A subset is fine, a truncated download is not." in told
    project.here("pretrained")
    told = project.here("train") + project.here("evaluate")
    project.here("report")

    clusters = pd.read_csv(tmp_path / "reports/clusters.csv")
    assert clusters["path"].tolist() == [path for path, _, _, split in replica.rows if split == "train"]
    assert clusters["cluster"].max() >= 3
    metrics = read_json(tmp_path / "reports/metrics.json")
    page = (tmp_path / "reports/report.html").read_text(encoding="utf-8")
    if name in WITHOUT_TEST:
        assert told.count(f"no evaluation: {WITHOUT_TEST[name]}") == 2
        assert set(metrics) == {"clustering"} and f"Not evaluated: {WITHOUT_TEST[name]}" in page
        return
    queries = sum(split == "query" for *_, split in replica.rows)
    assert metrics["queries"] == {"all": queries, "valid": queries}
    assert 0.2 < metrics["student"]["mAP"] <= 1
    protocol = "the protocol uses no cameras" if name in WITHOUT_CAMERAS else "own camera are removed before ranking"
    assert protocol in page


def test_union_is_trained_on_as_one_and_scored_on_each(tmp_path: Path, mlflow_database: Path) -> None:
    project, first = project_of(tmp_path, "market1501", mlflow_database)
    other = write_replica("clonedperson", tmp_path / "data" / "raw")
    project.set(dataset="union")
    assert "union.datasets must name two data sets or more" in project.refused("sources")
    project.set(union__datasets=["market1501", "clonedperson"])
    project.here("sources")
    recorded = read_json(tmp_path / "data/dataset.json")
    assert recorded["files"] > len(first.rows) + len(other.rows) - 1 and recorded["digest"]
    assert f"market1501+clonedperson: {len(first.rows) + len(other.rows)} images" in project.here("prepare")
    project.here("pretrained")
    told = project.here("train") + project.here("evaluate")
    metrics = read_json(tmp_path / "reports/metrics.json")
    members = [metrics[f"student@{name}"]["mAP"] for name in ("market1501", "clonedperson")]
    assert metrics["student@mean"]["mAP"] == pytest.approx(sum(members) / 2)
    summary = read_json(tmp_path / "reports/summary.json")
    assert (summary["market1501_mAP"], summary["mean_mAP"]) == (members[0], metrics["student@mean"]["mAP"])
    assert f"student mAP by data set: market1501 {members[0]:.1%}, clonedperson {members[1]:.1%}, mean" in told
    project.here("report")
    page = (tmp_path / "reports/report.html").read_text(encoding="utf-8")
    assert "By data set" in page and "Student, on clonedperson" in page and "Student, mean over the data sets" in page
    run = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_run(
        read_json(tmp_path / "data/model/run.json")["run_id"]
    )
    assert run.data.metrics["clonedperson mAP"] == members[1] and "market1501+clonedperson" in run.info.run_name


@pytest.fixture
def table(tmp_path: Path, mlflow_database: Path) -> tuple[Project, Path]:
    """A project whose data set is a table."""
    project, replica = project_of(tmp_path, "csv", mlflow_database)
    return project, replica.folder / replica.options.table


def finish(project: Any) -> str:
    for stage in ("prepare", "pretrained", "train"):
        project.here(stage)
    told: str = project.here("evaluate")
    project.here("report")
    return told + (project.folder / "reports/report.html").read_text(encoding="utf-8")


def read(path: Path) -> pd.DataFrame:
    """The table, whatever its separator, capitals and spaces."""
    rows = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return rows.rename(columns=lambda name: name.strip().lower())


def change(path: Path, **columns: Any) -> None:
    read(path).assign(**columns).to_csv(path, index=False)


def test_individuals_that_one_camera_sees_alone_are_ranked_without_cameras(table: tuple[Project, Path]) -> None:
    project, path = table
    change(path, camid="gate")
    page = finish(project)
    assert "the protocol uses no cameras" in page and "student mAP" in page and "camera gate" in page


def test_table_without_cameras_uses_the_sampler_and_the_protocol_that_need_none(table: tuple[Project, Path]) -> None:
    project, path = table
    rows = read(path)
    rows.drop(columns="camid").to_csv(path, index=False)
    assert "the protocol uses no cameras" in finish(project)


def test_table_without_identities_is_clustered_and_not_evaluated(table: tuple[Project, Path]) -> None:
    project, path = table
    change(path, pid="")
    page = finish(project)
    assert "no evaluation: its query images have no identities" in page
    assert "Not evaluated: its query images have no identities." in page


def test_links_are_kept_from_the_table_to_the_clusters(table: tuple[Project, Path]) -> None:
    project, path = table
    rows = read(path)
    tracklet = rows["pid"] + "-" + rows["camid"]
    rows.assign(tracklet=tracklet).to_csv(path, index=False)
    of = dict(zip(rows["path"], tracklet, strict=True))
    told = project.here("prepare")
    assert "tracklets hold" in told and "links: the training images are " in told
    page = finish(project)
    assert "links mended" in page and "By tracklet" in page  # a column and a part of a table of the report
    assert "by tracklet: student mAP" in page
    scored = read_json(project.folder / "reports/metrics.json")
    assert {"student_tracklets", "teacher_tracklets", "untrained_tracklets"} <= scored.keys()
    assert scored["queries"]["tracklets"] <= scored["queries"]["all"]
    summary = read_json(project.folder / "reports/summary.json")
    assert summary["tracklets_mAP"] == scored["student_tracklets"]["mAP"]
    run_id = read_json(project.folder / "data/model/run.json")["run_id"]
    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    assert client.get_run(run_id).data.metrics["tracklets mAP"] == summary["tracklets_mAP"]
    first = clusters_of(project)
    assert first.groupby([of[image] for image in first.index]).nunique().eq(1).all()
    # A correction by hand makes another training, whose clusters keep the two apart.
    one, *others = first[first == 0].index
    other = next(image for image in others if of[image] != of[one])
    corrections = path.parent / "corrections.csv"
    links = pd.DataFrame({"kind": ["cannot_link", "must_link"], "path_a": one, "path_b": other})
    links.iloc[:1].to_csv(corrections, index=False)
    before = read_json(project.folder / "data/model/run.json")["fingerprint"]
    finish(project)
    assert read_json(project.folder / "data/model/run.json")["fingerprint"] != before
    now = clusters_of(project)
    assert now[one] != now[other] or now[one] == -1
    links.to_csv(corrections, index=False)
    assert "1 cannot-links are between images that must-links" in project.refused("prepare")
    assert (project.folder / "data/contradictions.csv").is_file()


def clusters_of(project: Project) -> "pd.Series[int]":
    return pd.read_csv(project.folder / "reports/clusters.csv").set_index("path")["cluster"]


def test_queries_that_nobody_matches_are_not_evaluated(table: tuple[Project, Path]) -> None:
    project, path = table
    rows = read(path)
    rows.loc[rows["split"] == "query", "pid"] = "somebody else"
    rows.to_csv(path, index=False)
    assert "no evaluation: no query image shows an identity that another gallery image shows" in finish(project)


def test_prepare_skips_bad_images_when_told_and_says_how_many(table: tuple[Project, Path]) -> None:
    project, path = table
    rows = read(path)
    bad = path.parent / rows["path"][0]
    bad.write_bytes(b"")
    assert "prepare.skip_bad" in project.refused("prepare")
    assert pd.read_csv(project.folder / "data/bad_images.csv")["path"].tolist() == [rows["path"][0]]
    project.set(prepare__skip_bad=True)
    told = project.here("prepare")
    assert "warning: 1 images cannot be read and are left out: data/prepared/bad_images.csv" in told
    prepared = pd.read_csv(project.folder / "data/prepared/catalogue.csv")
    assert set(prepared["path"]) == set(rows["path"][rows["pid"] != "-1"]) - {rows["path"][0]}


def test_prepare_reports_test_images_that_are_training_images(table: tuple[Project, Path]) -> None:
    project, path = table
    rows = read(path)
    train, gallery = (rows["path"][rows["split"] == split].iloc[0] for split in ("train", "gallery"))
    shutil.copy(path.parent / train, path.parent / gallery)
    assert "1 test images are training images too, byte for byte: data/prepared/leaked_images.csv" in project.here(
        "prepare"
    )
    assert pd.read_csv(project.folder / "data/prepared/leaked_images.csv").iloc[0].tolist() == [train, gallery]


def test_prepare_unpacks_the_official_archive(tmp_path: Path, mlflow_database: Path) -> None:
    project, replica = project_of(tmp_path, "veri", mlflow_database)
    shutil.make_archive(str(tmp_path / "data/raw/VeRi"), "zip", replica.folder.parent, "VeRi")
    shutil.rmtree(replica.folder)
    assert "unpacked VeRi.zip" in project.here("prepare")
    assert len(pd.read_csv(tmp_path / "data/prepared/catalogue.csv")) == len(replica.rows)
