"""What README.md and docs/ name exists: files, headings, settings, programs, rooms."""

import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from tests.conftest import SLOW
from tests.pictures import LARGEST, PICTURES
from tests.test_structure import ROOMS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data/raw/README.md"])


def commands(text: str) -> list[list[str]]:
    """The words of every command in the shell blocks of a text."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def anchors(text: str) -> set[str]:
    """The names by which the headings of a page can be linked to, as GitHub makes them."""
    return {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_links_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not heading or heading in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_names_settings_that_exist_as_dvc_parses_them(page: Path, tmp_path: Path) -> None:
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for words in commands(page.read_text(encoding="utf-8")):
        for flag, assignment in pairwise(words):
            if flag not in ("-S", "--set-param"):
                continue
            value = params
            for key in assignment.partition("=")[0].split("."):
                assert key in value, f"{assignment}: params.yaml has no {key}"
                value = value[key]
            shutil.copy(ROOT / "params.yaml", tmp_path)
            apply_overrides(tmp_path / "params.yaml", [assignment])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_names_tests_that_exist(page: Path) -> None:
    for name in re.findall(r"`(tests/[\w/.]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs_programs_of_the_project_that_exist(page: Path) -> None:
    targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in commands(page.read_text(encoding="utf-8")):
        if words[0] == "make":
            assert set(words[1:]) <= set(targets), words
        if "-m" in words and words[words.index("-m") + 1].split(".")[0] in ("stages", "benchmarks", "pipeline"):
            assert (ROOT / words[words.index("-m") + 1].replace(".", "/")).with_suffix(".py").is_file(), words


def test_every_picture_is_one_that_can_be_made_again_and_is_small() -> None:
    files = sorted((ROOT / "docs").glob("*.png"))
    by_script = {picture.__name__ for picture in PICTURES}
    assert by_script <= {file.stem for file in files}
    others = [file.name for file in files if file.stem not in by_script]
    benchmarks = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "benchmarks").glob("*.py"))
    assert [name for name in others if f"--output docs/{name}" not in benchmarks] == []
    assert all(file.stat().st_size <= LARGEST for file in files)
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [file.name for file in files if f"{file.name})" not in text] == []


def test_development_page_lists_the_rooms_in_their_order() -> None:
    table = (ROOT / "docs/development.md").read_text(encoding="utf-8").split("## The rooms of")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)) == ROOMS


def test_changelog_begins_with_this_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[0] == version[1]
    assert f"version: {version[1]}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_place_that_is_left_out_of_the_fast_tests_exists() -> None:
    for place in SLOW:
        assert (ROOT / "tests" / place).exists(), place
