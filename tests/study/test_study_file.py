"""Study files: what they expand to, and every mistake in one line that names file and key."""

from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.study import read_study
from pipeline.study.study_file import slug_of, written

ROOT = Path(__file__).parents[2]


def study(folder: Path, text: str, name: str = "toy.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def test_runs_keep_their_names_order_and_settings(tmp_path: Path) -> None:
    found = study(
        tmp_path,
        "title: A\ndescription: ' text '\nseeds: [3, 1]\n"
        "runs:\n  + DyCL: {memory.update: dynamic, loss.weight: 0}\n  base: {}\n",
    )
    assert (found.name, found.title, found.description, found.seeds) == ("toy", "A", "text", (3, 1))
    assert [(v.name, v.slug, dict(v.changes)) for v in found.variants] == [
        ("+ DyCL", "dycl", {"memory.update": "dynamic", "loss.weight": 0}),
        ("base", "base", {}),
    ]


def test_vary_changes_one_setting_at_a_time_beside_a_default(tmp_path: Path) -> None:
    found = study(tmp_path, "title: A\nseeds: [1]\nvary: {memory.tau: [0.03, 0.6], model.pooling: [gem]}\n")
    assert [dict(variant.changes) for variant in found.variants] == [
        {},
        {"memory.tau": 0.03},
        {"memory.tau": 0.6},
        {"model.pooling": "gem"},
    ]
    assert [variant.name for variant in found.variants] == [
        "default",
        "memory.tau=0.03",
        "memory.tau=0.6",
        "model.pooling=gem",
    ]


def test_grid_is_the_full_product(tmp_path: Path) -> None:
    found = study(tmp_path, "title: A\nseeds: [1]\ngrid: {a: [1, 2], b: [x, true], c: [0.5]}\n")
    assert [tuple(variant.changes.values()) for variant in found.variants] == [
        (a, b, 0.5) for a in (1, 2) for b in ("x", True)
    ]
    assert found.variants[1].name == "a=1 b=true c=0.5"
    assert len({variant.slug for variant in found.variants}) == 4


def test_runs_vary_and_grid_stand_together(tmp_path: Path) -> None:
    found = study(tmp_path, "title: A\nseeds: [1]\nruns: {x: {a: 1}}\nvary: {b: [2]}\ngrid: {c: [3]}\n")
    assert [dict(variant.changes) for variant in found.variants] == [{"a": 1}, {}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected keys and values, got list"),
        ("title: [\n", "not valid YAML"),
        ("seeds: [1]\nruns: {a: {}}\n", "title is missing"),
        ("title: A\nruns: {a: {}}\n", "seeds is missing"),
        ("title: ''\nseeds: [1]\nruns: {a: {}}\n", "title must be .*at least 1 character.*, got ''"),
        ("title: A\nseeds: []\nruns: {a: {}}\n", "seeds must be"),
        ("title: A\nseeds: [1, -1]\nruns: {a: {}}\n", "seeds.1 must be greater than or equal to 0, got -1"),
        ("title: A\nseeds: [1, x]\nruns: {a: {}}\n", "seeds.1 must be a valid integer, got 'x'"),
        ("title: A\nseeds: [1, 2, 1]\nruns: {a: {}}\n", "seeds names 1 more than once"),
        ("title: A\nseeds: [1]\n", "there is no run: name some by runs, vary or grid"),
        ("title: A\nseeds: [1]\nrun: {a: {}}\n", "unknown key run; known are title, description, seeds, runs, vary"),
        ("title: A\nseeds: [1]\nruns: {a: {loss: {weight: 0}}}\n", "runs.a.loss must be a number, a word, true or"),
        ("title: A\nseeds: [1]\nruns: {a: 3}\n", "runs.a must be a mapping of settings"),
        ("title: A\nseeds: [1]\nvary: {a: []}\n", "vary.a must be"),
        ("title: A\nseeds: [1]\ngrid: {a: [[1]]}\n", "grid.a.0 must be a number, a word, true or false"),
        ("title: A\nseeds: [1]\ngrid: {a: [.nan]}\n", "grid.a.0 must be"),
        ("title: A\nseeds: [1]\nruns: {a: {seed: 4}}\n", "'a' sets seed: name the seeds in `seeds`"),
        ("title: A\nseeds: [1]\nruns: {++: {}}\n", "the name of a run needs a letter or a digit, got '\\+\\+'"),
        ("title: A\nseeds: [1]\nruns: {+ a: {}, a: {x: 1}}\n", "'\\+ a' and 'a' would both be called a: rename one"),
    ],
)
def test_read_study_refuses_in_one_line_that_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        study(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "toy.yaml")) and "\n" not in str(caught.value)


def test_read_study_names_a_file_that_is_missing_or_has_no_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.yaml is missing: name a study file"):
        read_study(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="the name of a study file needs a letter or a digit"):
        study(tmp_path, "title: A\nseeds: [1]\nruns: {a: {}}\n", name="--.yaml")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("+ L_ss", "l_ss"),
        ("DCCC (all)", "dccc-all"),
        ("memory.tau=0.05", "memory.tau-0.05"),
        ("a..b", "a-b"),
        ("end.", "end"),
        ("Ä/b~c^d:e", "b-c-d-e"),
    ],
)
def test_slug_is_a_name_that_git_takes(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_written_is_yaml() -> None:
    assert written({"a.b": True, "c": 0.5, "d": "x"}) == "a.b=true c=0.5 d=x"


@pytest.mark.parametrize("path", sorted(ROOT.glob("studies/*.yaml")), ids=lambda path: path.stem)
def test_studies_of_the_project_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.study import plan

    monkeypatch.chdir(ROOT)
    found = read_study(path)
    planned = plan(found, seeds=found.seeds, source=str(path))
    assert len(planned.experiments) == len(planned.variants) * len(found.seeds)
    assert len(planned.variants) > 1 or len(found.seeds) > 1
    if path.stem == "grid":  # a value that is the recipe's is the run "default"
        assert set(planned.same.values()) == {"default"}
    else:
        assert planned.same == {}


MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        MERGES,
        "title: " + "[" * 100_000,
        "title: " + "{a: " * 5_000,
        "title: A\nseeds: [" + "1" * 6_000 + "]\nruns: {a: {}}\n",
        "title: A\nseeds: [1]\nruns: {a: {x: " + "1" * 6_000 + "}}\n",
        "title: A\nseeds: [1]\ngrid: {" + ", ".join(f"k{n}: [1, 2, 3, 4]" for n in range(30)) + "}\n",
    ],
    ids=["merges", "nested lists", "nested mappings", "long seed", "long value", "endless grid"],
)
def test_read_study_of_a_hostile_file_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as caught:
        study(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "toy.yaml")) and "\n" not in message and len(message) < 400
