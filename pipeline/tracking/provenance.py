"""Which code a run was made by: the git revision of the files that run, not of the folder that the user stands in.

`dvc exp run --temp` and `--queue` run a copy of the project: what is checked out, or edited, beside it afterwards has
no part in the run.
"""

import os
import subprocess
from pathlib import Path

import pipeline

CODE = Path(pipeline.__file__).resolve().parents[1]
_RESULTS = ("dvc.lock", "reports")  # which a run changes itself


def provenance(code: Path = CODE) -> dict[str, str]:
    """Tags of a run: the revision of `code`, or why there is none; and whether files that git knows were changed.

    Results that a run writes itself do not count.
    """
    try:
        revision = _git(code, "rev-parse", "HEAD")
        changes = _git(code, "status", "--porcelain", "-uno", "--", ".", *(f":(exclude){name}" for name in _RESULTS))
    except _NoRevisionError as reason:
        return {"git.revision": f"unknown: {reason}"}
    return {"mlflow.source.git.commit": revision, "git.dirty": str(bool(changes)).lower()}


def revision(code: Path = CODE) -> str:
    """The same for people: `1a2b3c4d5e`, `1a2b3c4d5e with uncommitted changes`, or `unknown` and why."""
    tags = provenance(code)
    if "git.revision" in tags:
        return tags["git.revision"]
    return tags["mlflow.source.git.commit"][:10] + " with uncommitted changes" * (tags["git.dirty"] == "true")


class _NoRevisionError(Exception):
    """Git does not say what is checked out; the message says why, in a clause for the user."""


def _git(code: Path, *words: str) -> str:
    # Git's words are looked at below: they must not depend on the user's language.
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *words], cwd=code, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise _NoRevisionError("git is not installed") from error
    if done.returncode == 0:
        return done.stdout.strip()
    if "dubious ownership" in done.stderr:
        raise _NoRevisionError("git does not trust the owner of the folder (git config --global safe.directory)")
    if "not a git repository" in done.stderr:
        raise _NoRevisionError("the code does not lie in a git repository")
    raise _NoRevisionError("git knows no revision of the code")
