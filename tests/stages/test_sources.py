"""What DVC does not track, the data set and a file of weights: `dvc repro` notices every change of them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from pipeline.common.files import read_json
from pipeline.common.locks import locked
from tests.common.test_parent_process import gone
from tests.params_file import change_params
from tests.stages.conftest import ROOT, SMALL, Project
from tests.team.conftest import Checkout, copy_of_the_project

# Two processes that decode, and never end.
SLOW = """
import os, pathlib, time
import pipeline.datasets.packing as packing

def wait(path, **size):
    pathlib.Path("working").mkdir(exist_ok=True)
    pathlib.Path(f"working/{os.getpid()}").touch()
    time.sleep(600)

packing.read_image, packing.IMAGES_PER_WORKER, packing._CHUNK = wait, 20, 1
os.cpu_count = lambda: 2
if __name__ == "__main__":
    import stages
    from stages.prepare import prepare
    stages.run(prepare)
"""


def draw(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 32), (shade, 255 - shade, shade // 2)).save(path)


@pytest.fixture
def clone(tmp_path: Path) -> Checkout:
    """A clone whose data set is a folder of six images."""
    folder = tmp_path / "a clone"
    copy_of_the_project(folder)
    change_params(folder / "params.yaml", {**SMALL, "dataset": "folder", "own.folder": "mine"})
    for number in range(6):
        draw(folder / f"data/raw/mine/{number}.png", 20 * number)
    clone = Checkout(folder)
    for words in ("init -q -b main", "add -A", "commit -qm project"):
        clone.run("git", *words.split())
    return clone


def images(clone: Checkout) -> list[str]:
    return pd.read_csv(clone.folder / "data/prepared/catalogue.csv")["path"].tolist()


def ran(told: str) -> list[str]:
    """The stages that ran, beside the one that only looks."""
    stages = re.findall(r"Running stage '(\w+)'", told)
    assert stages[:1] == ["sources"], told
    return stages[1:]


def test_images_taken_out_and_put_back_are_noticed_and_nothing_else_runs(clone: Checkout, tmp_path: Path) -> None:
    repro = ("dvc", "repro", "prepare")
    assert ran(clone.run(*repro)) == ["prepare"] and len(images(clone)) == 6
    assert ran(clone.run(*repro)) == []
    kept = shutil.move(clone.folder / "data/raw/mine/3.png", tmp_path / "3.png")
    assert ran(clone.run(*repro)) == ["prepare"] and "3.png" not in images(clone)
    shutil.copyfile(kept, clone.folder / "data/raw/mine/3.png")  # with a new time of change
    assert ran(clone.run(*repro)) == [] and len(images(clone)) == 6  # as it was, from DVC's cache
    draw(clone.folder / "data/raw/mine/3.png", 250)
    digest = read_json(clone.folder / "data/prepared/summary.json")["digest"]
    assert ran(clone.run(*repro)) == ["prepare"]
    assert read_json(clone.folder / "data/prepared/summary.json")["digest"] != digest
    os.utime(clone.folder / "data/raw/mine/0.png", (1, 1))
    assert ran(clone.run(*repro)) == []
    shutil.rmtree(clone.folder / "data/raw/mine")  # as where results are taken over without their images
    assert ran(clone.run(*repro)) == [] and len(images(clone)) == 6


def test_lock_that_a_full_disk_left_broken_is_made_anew_from_what_dvc_kept(clone: Checkout) -> None:
    clone.run("dvc", "repro", "prepare")
    lock = clone.folder / "dvc.lock"
    lock.write_text(lock.read_text(encoding="utf-8")[:200], encoding="utf-8")
    refused = clone.start(["dvc", "repro", "prepare"])
    assert refused.returncode != 0 and "dvc.lock" in refused.stderr
    lock.unlink()  # docs/reliability.md
    assert ran(clone.run("dvc", "repro", "prepare")) == [] and len(images(clone)) == 6


def test_weights_replaced_under_their_name_are_noticed(new_project: Callable[[], Any]) -> None:
    project: Project = new_project()
    project.set(pretrained="kept/weights.pth")
    weights, record = project.folder / "kept/weights.pth", project.folder / "data/weights.json"
    weights.parent.mkdir()
    digests = []
    for content in (b"first", b"other"):
        weights.write_bytes(content)
        project.here("sources")
        digests.append(read_json(record)["digest"])
    assert digests[0] != digests[1]
    weights.unlink()
    project.here("sources")  # not on this machine: the record stays
    assert read_json(record)["digest"] == digests[1]
    project.set(pretrained="kept/other.pth")
    project.here("sources")
    assert read_json(record) == {"pretrained": "kept/other.pth"}


def test_experiment_in_a_copy_reads_the_checkout_and_leaves_its_list_there(clone: Checkout) -> None:
    (clone.folder / "data/raw/mine/5.png").write_bytes(b"no image")
    refused = clone.start(["dvc", "exp", "run", "--temp", "-S", "image.height=24", "prepare"])
    assert refused.returncode != 0 and "1 of 6 images cannot be read: 5.png" in refused.stderr + refused.stdout
    assert pd.read_csv(clone.folder / "data/bad_images.csv")["path"].tolist() == ["5.png"]
    told = clone.run("dvc", "exp", "run", "--temp", "-S", "prepare.skip_bad=true", "prepare")
    assert "warning: 1 images cannot be read and are left out" in told
    assert pd.read_csv(clone.folder / "data/bad_images.csv")["path"].tolist() == ["5.png"]
    draw(clone.folder / "data/raw/mine/5.png", 9)
    clone.run("dvc", "repro", "prepare")
    assert len(images(clone)) == 6 and not (clone.folder / "data/bad_images.csv").exists()


def test_tables_of_another_data_set_do_not_survive_a_switch(clone: Checkout) -> None:
    change_params(clone.folder / "params.yaml", {"prepare.skip_bad": True})
    (clone.folder / "data/raw/mine/5.png").write_bytes(b"no image")
    table = clone.folder / "data/prepared/bad_images.csv"
    clone.run("dvc", "repro", "prepare")
    assert table.is_file()
    draw(clone.folder / "data/raw/yours/0.png", 4)
    change_params(clone.folder / "params.yaml", {"own.folder": "yours"})
    clone.run("dvc", "repro", "prepare")
    assert images(clone) == ["0.png"] and not table.exists()
    change_params(clone.folder / "params.yaml", {"own.folder": "mine"})
    assert ran(clone.run("dvc", "repro", "prepare")) == []
    assert len(images(clone)) == 5 and pd.read_csv(table)["path"].tolist() == ["5.png"]


def test_run_waits_for_another_one_that_unpacks_the_same_data_set(new_project: Callable[[], Any]) -> None:
    project: Project = new_project()
    command, environment = [sys.executable, "-u", "-m", "stages.sources"], {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as held:
        held.enter_context(locked(project.folder / ".scratch/place.lock"))
        with subprocess.Popen(command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "another run is getting the data set ready: waiting for it\n"
            held.close()
            assert other.wait(60) == 0
    assert (project.folder / "data/dataset.json").is_file()


def test_images_that_change_while_they_are_packed_stop_the_run(
    new_project: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    project: Project = new_project()
    project.here("sources")
    monkeypatch.setenv("DVC_ROOT", str(project.folder))
    raw = (project.folder / "data/raw/market1501/Market-1501-v15.09.15").resolve()
    place = project.folder / "data/raw/market1501/Market-1501-v15.09.15"
    place.unlink()
    shutil.copytree(raw, place)
    next((place / "bounding_box_train").iterdir()).unlink()
    assert "was changed while its images were being packed: start the run again" in project.refused("prepare")
    assert not (project.folder / "data/prepared").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_prepare_that_is_killed_leaves_no_process_and_nothing_that_stays(tmp_path: Path, number: int) -> None:
    project = tmp_path / "project"
    for image in range(40):
        draw(project / f"data/raw/mine/{image}.png", image)
    shutil.copy(ROOT / "params.yaml", project)
    change_params(project / "params.yaml", {**SMALL, "dataset": "folder", "own.folder": "mine"})
    slow = tmp_path / "code" / "slow.py"  # workers import it again, as __main__, and wait for ever
    slow.parent.mkdir()
    slow.write_text(SLOW, encoding="utf-8")
    stage = subprocess.Popen(
        [sys.executable, slow], cwd=project, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True
    )
    while len(list((project / "working").glob("*"))) < 2:
        assert stage.poll() is None
        time.sleep(0.05)
    workers = [int(path.name) for path in (project / "working").iterdir()]
    stage.send_signal(number)
    stage.wait()
    assert gone(workers)
    assert [path.name for path in (project / "data").glob(".prepared*")]
    done = Project(project).done("prepare")
    assert "40 images" in done and not list((project / "data").glob(".*"))
