"""The recipes of docs/extending.md: each difference applies to the code as it is, and what they add works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPES = re.findall(
    r"^## (.*?)\n.*?```diff\n(.*?)```",
    (ROOT / "docs/extending.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
# What each recipe adds, used; all in one process, which prints one line per recipe.
SCRIPT = """
from pathlib import Path
import numpy as np, pandas as pd, torch

from pipeline.model import build
print(tuple(build("resnet26")(torch.randn(2, 3, 32, 16)).shape))

from pipeline.preparation.readers import open_dataset
from tests.replicas import write_replica
replica = write_replica("pallets", Path("raw"))
catalogue = open_dataset("pallets", Path("raw")).catalogue
print(catalogue["path"].tolist() == [row[0] for row in replica.rows])

from pipeline.contrast import ClusterMemory
memory = ClusterMemory(torch.eye(2), momentum=0.0, update="nearest")
memory.update_(torch.tensor([[0.8, 0.6], [0.0, 1.0]]), torch.tensor([0, 0]))
print([round(x, 3) for x in memory.centroids[0].tolist()])

from pipeline.clustering import eps_at
print([eps_at(epoch, schedule="half", start=0.5, epochs=4) for epoch in range(4)])

from pipeline.evaluation.metrics import METRICS, cmc_ranks
print(cmc_ranks(), METRICS["rank20"].heading)

from pipeline.config.load import read_settings
from pipeline.methods import METHODS
from tests.params_file import change_params
change_params(Path("params.yaml"), {"method": "margin", "methods": {"margin": {"margin": 0.2}}})
method = METHODS["margin"](read_settings(methods=METHODS))
student = torch.eye(2)[[0, 1]]
loss, *_ = method.loss(student, None, ClusterMemory(torch.eye(2), momentum=0.1, update="mean"), torch.tensor([0, 1]))
print(torch.isclose(loss, torch.log1p(torch.exp(torch.tensor(-0.8 / 0.05)))).item())

from pipeline.report.figures import draw
from tests.report.minimal import minimal_report
sizes = pd.DataFrame({"identity": [1, 2, 3], "images": [4, 4, 7]})
print([picture.alt for picture in draw(minimal_report(tables={"gallery_sizes": sizes}))])
"""
PRINTED = """(2, 512)
True
[0.8, 0.6]
[0.5, 0.5, 0.25, 0.25]
[1, 5, 10, 20] Rank-20
True
['3 identities with 4 to 7 gallery images.']
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is, in a git repository of its own."""
    folder = tmp_path_factory.mktemp("project")
    listed = ["git", "ls-files", "-co", "--exclude-standard", "pipeline", "tests", "data/raw/README.md", "params.yaml"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def test_there_are_seven_recipes() -> None:
    assert len(RECIPES) == 7


@pytest.mark.parametrize(("title", "difference"), RECIPES, ids=[title for title, _ in RECIPES])
def test_recipe_applies_to_the_code_as_it_is(copy: Path, title: str, difference: str) -> None:
    done = subprocess.run(
        ["git", "apply", "-v", "-"], cwd=copy, input=difference, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{title}: {done.stderr}"


def test_what_the_recipes_add_works(copy: Path) -> None:
    # After the tests above, which pytest runs in the order of the file.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], cwd=copy, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (PRINTED, "")
