"""What a study comes to on top of params.yaml: settings, names of experiments, mistakes."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.study import current, plan, read_study, seeds_of, settings_table
from pipeline.study.experiments import existing, fresh_names
from pipeline.study.queue import Task, _override, kill_marked, marked_processes, parse_status, wait_for_end
from pipeline.study.running import duration, require_free
from tests.params_file import change_params

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(runs: str, *, seeds: tuple[int, ...] = (1, 2), **options):
    Path("toy.yaml").write_text(f"title: A\nseeds: [1]\n{runs}\n", encoding="utf-8")
    return plan(read_study(Path("toy.yaml")), seeds=seeds, source="toy.yaml", **options)


def test_plan_goes_through_the_variants_seed_by_seed() -> None:
    found = planned("runs: {b: {memory.update: hard}, a: {}}", seeds=(7, 3))
    assert [each.name for each in found.experiments] == ["toy-b-7", "toy-a-7", "toy-b-3", "toy-a-3"]
    assert found.experiments[2].changes == {"memory.update": "hard", "seed": 3}
    assert found.experiments[2].settings["seed"] == 3 and found.experiments[2].settings["memory.update"] == "hard"


def test_plan_fills_in_the_recipe() -> None:
    found = planned("runs: {a: {dataset: market1501}}")
    assert found.settings["a"]["clustering.eps"] == 0.7 and found.shared("backbone") == "resnet50"


def test_plan_leaves_out_what_equals_an_earlier_variant() -> None:
    found = planned("vary: {clustering.eps: [0.5, 0.6]}")  # 0.6 is the recipe's
    assert [variant.name for variant in found.variants] == ["default", "clustering.eps=0.5"]
    assert found.same == {"clustering.eps=0.6": "default"}


def test_plan_takes_names_and_slugs_for_only() -> None:
    runs = "runs: {+ A b: {}, c: {memory.update: hard}, d: {memory.update: mean}}"
    assert [v.name for v in planned(runs, only=["a-b", "d"]).variants] == ["+ A b", "d"]
    assert [v.name for v in planned(runs, only=["+ A b"]).variants] == ["+ A b"]
    with pytest.raises(UserError, match="--only: toy.yaml has no run 'x'; it has \\+ A b, c, d"):
        planned(runs, only=["x"])


def test_key_is_that_of_the_settings_alone(project: Path) -> None:
    runs = "runs: {a: {}, b: {memory.update: hard}}"
    key = planned(runs).key
    assert planned(runs, seeds=(5,)).key == key and planned(runs, only=["b"]).key == key
    change_params(project / "params.yaml", {"loss.temperature": 0.06})
    assert planned(runs).key != key


def test_settings_table_holds_what_differs() -> None:
    table = settings_table(planned("runs: {a: {}, b: {memory.update: hard, clustering.eps: 0.5}}"))
    assert list(table.columns) == ["clustering.eps", "memory.update"]
    assert table.loc["b"].tolist() == [0.5, "hard"]
    assert list(settings_table(planned("runs: {a: {}}")).columns) == []


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("runs: {a: {memory.taw: 1}}", "toy.yaml: 'a': params.yaml has no setting memory.taw"),
        ("runs: {a: {loss: 1}}", "toy.yaml: 'a': loss is a section of params.yaml: name a setting in it"),
        ("runs: {a: {epochs.x: 1}}", "toy.yaml: 'a': params.yaml has no setting epochs.x"),
        ("runs: {a: {clustering.eps: 1.5}}", "toy.yaml: 'a': clustering.eps must be less than 1, got 1.5"),
        ("runs: {a: {dataset: nowhere}}", "toy.yaml: 'a': dataset must be one of those"),
    ],
)
def test_plan_refuses_settings_in_one_line(runs: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(runs)


def test_plan_needs_params_yaml(project: Path) -> None:
    (project / "params.yaml").unlink()
    with pytest.raises(UserError, match="params.yaml is missing: run this from the top folder"):
        planned("runs: {a: {}}")


def test_seeds_of_reads_a_list() -> None:
    assert seeds_of("3, 1,2") == (3, 1, 2)
    for wrong in ("1,x", "", "1.5"):
        with pytest.raises(UserError, match="--seeds takes whole numbers"):
            seeds_of(wrong)
    for wrong in ("1,1", "-1", f"{2**32}"):
        with pytest.raises(UserError, match="--seeds takes different numbers"):
            seeds_of(wrong)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("fix", "fix"),
        (0.05, "0.05"),
        (True, "true"),
        ("true", "'true'"),
        ("null", "'null'"),
        ("a,b", "'a,b'"),
        ("it's", r"'it\'s'"),
        ("timm/vit_small_patch16_224.dino", "timm/vit_small_patch16_224.dino"),
        ("1e-3", "'1e-3'"),
    ],
)
def test_override_quotes_what_would_be_taken_for_something_else(value: object, text: str) -> None:
    assert _override(value) == text


class StandIn:
    """A queue that holds what it is given: name -> state."""

    def __init__(self, **states: str) -> None:
        self._states = states

    def tasks(self) -> list[Task]:
        return [Task(f"id{number}", name, state) for number, (name, state) in enumerate(self._states.items())]


def test_require_free_refuses_what_runs_and_what_is_not_of_the_study() -> None:
    assert [task.name for task in require_free(StandIn(a="Queued", b="Failed", c="Success"), {"a"})] == ["a"]
    with pytest.raises(UserError, match="DVC is still running a: wait for it, or `dvc queue kill a`"):
        require_free(StandIn(a="Running"), {"a"})
    with pytest.raises(UserError, match=r"DVC's queue holds experiments of others \(mine\): run them"):
        require_free(StandIn(mine="Queued", a="Queued"), {"a"})


STATUS = """\
Task     Name                 Created    Status
dff6d9e  toy-mean-1           03:28 PM   Running
4f886e4  toy-a.long-name-22   Nov 25, 2026  Queued
daa6a16                       03:28 PM   Failed
c0ffee1  toy-b-1              Nov 2, 2026  Success

Worker status: 1 active, 0 idle
"""


def test_parse_status_reads_the_table_of_dvc() -> None:
    assert parse_status(STATUS) == [
        Task("dff6d9e", "toy-mean-1", "Running"),
        Task("4f886e4", "toy-a.long-name-22", "Queued"),
        Task("daa6a16", "", "Failed"),
        Task("c0ffee1", "toy-b-1", "Success"),
    ]
    assert parse_status("No experiment tasks in the queue.\n\nWorker status: 0 active, 0 idle\n") == []


def test_marked_processes_are_found_and_ended() -> None:
    marker = ("REID_TEST_MARKER", uuid.uuid4().hex)
    assert wait_for_end(*marker, seconds=0)
    command = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    process = subprocess.Popen([sys.executable, "-c", command], env={**os.environ, marker[0]: marker[1]})
    while len(marked_processes(*marker)) < 2:
        time.sleep(0.05)
    assert not wait_for_end(*marker, seconds=0)
    kill_marked(*marker)
    process.wait()
    assert marked_processes(*marker) == []


@pytest.mark.parametrize(("seconds", "text"), [(42, "42 s"), (200, "3 min"), (7500, "2 h 05 min")])
def test_duration_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def git(*words: str, text: str = "") -> str:
    identity = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org"]
    done = subprocess.run(["git", *identity, *words], input=text, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_current_leaves_out_what_another_study_file_or_other_code_made(project: Path) -> None:
    stages = "stages: {train: {cmd: python code.py, deps: [code.py], outs: [out]}}\n"
    for name, text in {"dvc.yaml": stages, "code.py": "1\n"}.items():
        (project / name).write_text(text)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "a toy")
    revision = git("rev-parse", "HEAD")
    made = planned("runs: {a: {memory.update: hard}}", seeds=(1,))
    before = (project / "params.yaml").read_text()
    change_params(project / "params.yaml", {"memory.update": "hard", "seed": 1})
    git("commit", "-qam", "toy-a-1")
    commit = git("rev-parse", "HEAD")
    git("update-ref", f"refs/exps/{revision[:2]}/{revision[2:]}/toy-a-1", commit)
    git("reset", "-q", "--hard", revision)
    assert (project / "params.yaml").read_text() == before
    assert current(made.experiments, revision) == {"toy-a-1": commit}
    edited = planned("runs: {a: {memory.update: mean}}", seeds=(1,))
    assert current(edited.experiments, revision) == {}, "the study file was edited"
    assert fresh_names(edited.experiments, existing(revision)) == {"toy-a-1": f"toy-a-1-{commit[:7]}"}
    (project / "code.py").write_text("2\n")
    assert current(made.experiments, revision) == {}, "the code was edited"
