"""All experiments of a checkout as one table that fits into a terminal.

`dvc exp show -A` has a column per setting and per dependency; here are the scores, and the settings that an experiment
changed. A commit stands in the table if it has results, and if it changed them or has experiments on top of it.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.flatten import flatten
from pipeline.common.text import one_line
from pipeline.evaluation.metrics import MAIN, METRICS
from pipeline.report.wording import DASH, shortened

_PARAMS, _SCORES = "params.yaml", "reports/summary.json"
_NAME = 34  # characters of a name at most
_COLUMNS = {
    **{key: metric.heading for key, metric in list(METRICS.items())[:2]},
    f"teacher_{MAIN.key}": f"teacher {MAIN.heading}",
}
_SCORE = 5  # characters of a score at most
_LEAST = 12  # characters for the changes


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: Of the commit or of the experiment.
        revision: The short name of its commit in git.
        scores: Key of a metric -> fraction in [0, 1].
        changes: The settings of an experiment that differ from those of the commit below it, `key=value`.
        state: Of an experiment that has no results yet: queued, running, failed.
        indent: Number of spaces before the name; an experiment stands below its commit.
    """

    name: str
    revision: str
    scores: Mapping[str, float]
    changes: tuple[str, ...] = ()
    state: str = ""
    indent: int = 0


def show_experiments(checkout: Path) -> list[dict[str, Any]]:
    """What `dvc exp show` knows of all commits.

    Raises:
        UserError: DVC cannot tell.
    """
    command = [sys.executable, "-m", "dvc", "exp", "show", "--all-commits", "--json"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0].removeprefix("ERROR: ")
        raise UserError(f"dvc exp show: {reason}")
    shown: list[dict[str, Any]] = json.loads(done.stdout)
    return shown


def rows_of(shown: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows of the table: the working copy, then commits, each followed by its experiments."""
    rows = []
    before: Mapping[str, float] | None = None
    for baseline in shown:
        settings, scores = _settings(baseline), _scores(baseline)
        experiments = list(_experiments(baseline, settings))
        in_workspace = baseline["rev"] == "workspace"
        if experiments or (scores and scores != before):
            revision = "" if in_workspace else baseline["rev"][:7]
            rows.append(Row(baseline["name"] or revision or "workspace", revision, scores))
        rows += experiments
        before = before if in_workspace else scores or before
    return rows


def overview(rows: Iterable[Row], *, width: int) -> list[str]:
    """The table, no line of which is longer than `width`."""
    rows = list(rows)
    columns = {key: heading for key, heading in _COLUMNS.items() if any(key in row.scores for row in rows)}
    names = [" " * row.indent + shortened(one_line(row.name), _NAME) for row in rows]
    name_width = max(map(len, ["Experiment", *names]))
    state_width = max((len(row.state) for row in rows), default=0)
    cells = [
        [
            name.ljust(name_width),
            row.revision.ljust(7),
            *(_percent(row.scores.get(key), key).rjust(max(len(heading), _SCORE)) for key, heading in columns.items()),
            *([row.state.ljust(state_width)] if state_width else []),
            "  ".join(map(one_line, row.changes)),
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    state = [" " * state_width] if state_width else []
    scores = [heading.rjust(_SCORE) for heading in columns.values()]
    head = ["Experiment".ljust(name_width), "commit ", *scores, *state, "changed settings"]
    left = max(_LEAST, width - sum(len(cell) + 2 for cell in head[:-1]))
    return ["  ".join([*line[:-1], _cut(line[-1], left)]).rstrip()[:width] for line in [head, *cells]]


def _experiments(baseline: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Row]:
    for experiment in baseline.get("experiments") or ():
        newest = experiment["revs"][0]
        own = _settings(newest)
        changes = tuple(f"{key}={value}" for key, value in own.items() if settings.get(key) != value)
        state = (experiment.get("executor") or {}).get("state", "")
        state = "" if state == "success" else state
        name = experiment.get("name") or newest["name"] or newest["rev"][:7]
        yield Row(name, newest["rev"][:7], {} if state else _scores(newest), changes, state, indent=2)


def _settings(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = ((entry.get("data") or {}).get("params") or {}).get(_PARAMS) or {}
    return flatten(found.get("data") or {})


def _scores(entry: Mapping[str, Any]) -> dict[str, float]:
    found = ((entry.get("data") or {}).get("metrics") or {}).get(_SCORES) or {}
    scores = found.get("data") or {}
    return {key: float(scores[key]) for key in _COLUMNS if isinstance(scores.get(key), int | float)}


def _percent(score: float | None, key: str) -> str:
    return DASH if score is None else METRICS[key.rsplit("_", 1)[-1]].percent(score)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
