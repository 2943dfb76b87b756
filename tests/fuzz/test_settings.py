"""params.yaml and study files: damaged or odd, they are read or refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.config.load import read_settings, read_source_settings
from pipeline.methods import METHODS
from pipeline.study.study_file import read_study
from tests.fuzz.mutations import mutated, mutated_json, rounds

ROOT = Path(__file__).parents[2]
Survive = Callable[[Callable[[Path], None], bytes, str], None]
FILES = {"params.yaml": ROOT / "params.yaml", "study.yaml": ROOT / "studies/grid.yaml"}


def read_params(path: Path) -> None:
    read_source_settings(path)
    read_settings(path, methods=METHODS)


READERS: dict[str, Callable[[Path], Any]] = {"params.yaml": read_params, "study.yaml": read_study}


@pytest.mark.parametrize("name", FILES)
def test_damaged_settings_are_read_or_refused_in_one_line(survive: Survive, name: str) -> None:
    rng = np.random.default_rng(1)
    good = FILES[name].read_bytes()
    for _ in rounds(f"damaged {name}"):
        survive(READERS[name], mutated(good, rng, head=len(good)), name)


@pytest.mark.parametrize("name", FILES)
def test_odd_settings_are_read_or_refused_in_one_line(survive: Survive, name: str) -> None:
    rng = np.random.default_rng(2)
    good = YAML(typ="safe").load(FILES[name].read_text(encoding="utf-8"))
    for _ in rounds(f"odd {name}"):
        survive(READERS[name], mutated_json(good, rng).encode(errors="replace"), name)
