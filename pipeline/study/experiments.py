"""The trainings of a study as DVC experiments: their names, which exist already, and what an existing one was made of.

An experiment is a git commit on top of a revision, under the name `<study>-<variant>-<seed>`. It counts as done if it
stands on today's revision, with today's settings and today's code.
"""

import hashlib
import json
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from pipeline.common.errors import UserError
from pipeline.config.schema import data_name
from pipeline.study.resolved import Resolved, differing, resolve
from pipeline.study.study_file import Study, Value, Variant, read_study

PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class Experiment:
    """One training of a study.

    Attributes:
        name: in DVC.
        variant, seed: which of the study's.
        changes: what `-S` is given, the seed among it.
        settings: all that it comes to, `section.key` -> value.
    """

    name: str
    variant: str
    seed: int
    changes: Mapping[str, Value]
    settings: Resolved


@dataclass(frozen=True)
class Planned:
    """What a study comes to on top of one params.yaml.

    Attributes:
        study: What it was made of.
        variants: without those that come to the settings of an earlier one.
        settings: of each of them, by name, with the first seed.
        key: stands for the settings of the whole study, whatever was chosen of it, and whatever the seeds.
        experiments: all seeds of the first, then of the second ...: seeds are the outer loop, so that a study that is
            stopped early compares whole rounds.
        same: name of a variant that was left out -> the earlier one it equals.
    """

    study: Study
    variants: tuple[Variant, ...]
    settings: Mapping[str, Resolved]
    key: str
    experiments: tuple[Experiment, ...]
    same: Mapping[str, str]

    def shared(self, setting: str) -> str:
        """The value of a setting in the variants; with commas, where they have several."""
        return ", ".join(dict.fromkeys(str(values[setting]) for values in self.settings.values()))

    @property
    def data_names(self) -> str:
        """What people call the data sets of the variants; with commas, where there are several."""
        names = (data_name(values["dataset"], values["own.folder"]) for values in self.settings.values())
        return ", ".join(dict.fromkeys(names))


def plan_file(file: Path, *, seeds: str | None = None, only: Collection[str] | None = None) -> Planned:
    """As `plan`, for a study file.

    Args:
        file: What to train.
        seeds: Instead of the file's, as the user gives them: `1,2,3`.
        only: See `plan`.

    Raises:
        UserError: The file or one of these is not valid.
    """
    study = read_study(file)
    return plan(study, seeds=seeds_of(seeds) if seeds else study.seeds, source=str(file), only=only)


def plan(study: Study, *, seeds: Sequence[int], source: str, only: Collection[str] | None = None) -> Planned:
    """Resolves every variant on top of params.yaml, and names an experiment for each seed of the chosen ones.

    Args:
        study: what to train.
        seeds: to train each with.
        source: name of the study file, for errors.
        only: names of the variants to choose, as they stand in the file or in the names of the experiments.

    Raises:
        UserError: a variant sets what does not exist, or to a value that it cannot have.
    """
    chosen = _chosen(study, source, only)
    if not PARAMS.is_file():
        raise UserError(f"{PARAMS} is missing: run this from the top folder of the project")
    params = PARAMS.read_text(encoding="utf-8")
    settings: dict[str, Resolved] = {}
    kept: list[Variant] = []
    same: dict[str, str] = {}
    for variant in study.variants:
        try:
            resolved = resolve(params, {**variant.changes, "seed": seeds[0]})
        except UserError as error:
            raise UserError(f"{source}: {variant.name!r}: {error}") from error
        equal = next((name for name, other in settings.items() if other == resolved), None)
        if equal is not None:
            same[variant.name] = equal
            continue
        settings[variant.name] = resolved
        kept.append(variant)
    kept = [variant for variant in kept if variant.name in {same.get(name, name) for name in chosen}]
    experiments = tuple(
        Experiment(
            f"{study.name}-{variant.slug}-{seed}",
            variant.name,
            seed,
            {**variant.changes, "seed": seed},
            {**settings[variant.name], "seed": seed},
        )
        for seed in seeds
        for variant in kept
    )
    chosen_settings = {variant.name: settings[variant.name] for variant in kept}
    return Planned(study, tuple(kept), chosen_settings, _key(settings), experiments, same)


def settings_table(planned: Planned) -> pd.DataFrame:
    """The settings that differ between the variants; index: their names."""
    keys = differing(list(planned.settings.values()))
    rows = [[settings.get(key) for key in keys] for settings in planned.settings.values()]
    return pd.DataFrame(rows, index=pd.Index(list(planned.settings), name="variant"), columns=keys, dtype=object)


def git(*words: str) -> str:
    """What a git command of the current checkout prints.

    Raises:
        UserError: it failed.
    """
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UserError("git is missing: experiments are commits") from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"git {words[0]}: {reason}")
    return done.stdout


def head() -> str:
    """The revision that experiments stand on."""
    try:
        return git("rev-parse", "--verify", "HEAD").strip()
    except UserError as error:
        raise UserError(f"experiments need a git repository with a commit ({error})") from error


def existing(revision: str) -> dict[str, str]:
    """The experiments on a revision: name -> commit."""
    folder = f"refs/exps/{revision[:2]}/{revision[2:]}/"
    lines = git("for-each-ref", "--format=%(objectname) %(refname)", folder).splitlines()
    return {name.removeprefix(folder): commit for commit, name in (line.split(" ", 1) for line in lines)}


def current(experiments: Iterable[Experiment], revision: str) -> dict[str, str]:
    """Those that need not be run: name -> commit."""
    there = existing(revision)
    return {e.name: there[e.name] for e in experiments if e.name in there and is_current(there[e.name], e.settings)}


def is_current(commit: str, settings: Resolved) -> bool:
    """Whether an experiment has these settings, and was made by the code and the pipeline of the working copy."""
    try:
        if resolve(git("show", f"{commit}:{PARAMS}"), {}) != settings:
            return False
    except UserError:  # of a time when there were other settings
        return False
    return not git("diff", "--name-only", commit, "--", *_sources()).strip()


def uncommitted() -> list[str]:
    """The files of the pipeline that are not as they were committed: experiments have them as they are."""
    return git("diff", "--name-only", "HEAD", "--", str(PARAMS), *_sources()).splitlines()


def fresh_names(missing: Iterable[Experiment], there: Mapping[str, str]) -> dict[str, str]:
    """Name -> another one, for experiments that exist, but were made otherwise: they are kept."""
    return {each.name: f"{each.name}-{there[each.name][:7]}" for each in missing if each.name in there}


def seeds_of(text: str) -> tuple[int, ...]:
    """`1,2,3` as a user gives it.

    Raises:
        UserError: it is no such list.
    """
    try:
        seeds = tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise UserError(f"--seeds takes whole numbers with commas between them, such as 1,2,3, got {text!r}") from error
    if len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise UserError(f"--seeds takes different numbers from 0 to 2**32 - 1, got {text!r}")
    return seeds


def _key(settings: Mapping[str, Resolved]) -> str:
    without_seed = {name: {key: v for key, v in each.items() if key != "seed"} for name, each in settings.items()}
    return hashlib.sha256(json.dumps(without_seed, sort_keys=True).encode()).hexdigest()[:16]


def _chosen(study: Study, source: str, only: Collection[str] | None) -> list[str]:
    if not only:
        return [variant.name for variant in study.variants]
    known = {key: variant.name for variant in study.variants for key in (variant.name, variant.slug)}
    for name in only:
        if name not in known:
            raise UserError(f"--only: {source} has no run {name!r}; it has {', '.join(v.name for v in study.variants)}")
    return [known[name] for name in only]


def _sources() -> list[str]:
    """dvc.yaml and what git holds of the files that its stages depend on."""
    try:
        stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    except FileNotFoundError as error:
        raise UserError("dvc.yaml is missing: run this from the top folder of the project") from error
    outs = {
        _path(each)
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for each in stage.get(kind, ())
    }
    deps = {_path(each) for stage in stages.values() for each in stage.get("deps", ())}
    return ["dvc.yaml", *sorted(deps - outs)]


def _path(entry: str | Mapping[str, object]) -> str:
    return entry if isinstance(entry, str) else next(iter(entry))
