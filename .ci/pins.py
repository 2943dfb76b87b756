"""`make pins`: takes the newest versions that fit pyproject.toml, writes them there and into the lists for pip."""

import re
import subprocess
from pathlib import Path

PYPROJECT = Path("pyproject.toml")
BLOCK = re.compile(r"(    # pins\n).*?(    # /pins\n)", re.DOTALL)
HEADER = "# Every package at the version that was tested. pyproject.toml holds the same list for uv; see `make pins`.\n"
HEADER_S3 = "# What S3 needs beside requirements.txt, for pip install --no-deps -r; see docs/team.md and `make pins`.\n"
HEADER_DOCS = "# What `make docs` needs beside requirements.txt, for pip install -r; see `make pins`.\n"
# pip would refuse them beside the rest (pyproject.toml: override-dependencies).
S3 = ("boto3", "dvc-s3", "moto")


def resolved(*options: str) -> list[str]:
    """The pins of the packages that uv exports with these options."""
    export = ["uv", "export", "--format", "requirements-txt", "--no-hashes", "--no-header", "--no-annotate"]
    done = subprocess.run([*export, *options], check=True, capture_output=True, text=True)
    # Of the conditions, only those on Python's version tell anything here: the platform is settled in pyproject.toml.
    lines = done.stdout.splitlines()
    conditions = [(pin.split(" ;")[0], re.findall(r"python_full_version [<>=]+ '[\d.]+'", pin)) for pin in lines]
    return [" ; ".join([pin, *([" and ".join(python)] if python else [])]) for pin, python in conditions]


def write_list(name: str, header: str, pins: list[str]) -> None:
    """Writes a list for pip."""
    Path(name).write_text(header + "\n".join(pins) + "\n", encoding="utf-8")


without = BLOCK.sub(r"\1\2", PYPROJECT.read_text(encoding="utf-8"))
PYPROJECT.write_text(without, encoding="utf-8")
Path("uv.lock").unlink(missing_ok=True)
pins, tested = resolved("--all-groups"), resolved("--all-groups", "--no-group", "docs")
for_all = resolved("--all-groups", "--no-group", "docs", *(word for name in S3 for word in ("--prune", name)))
lines = "".join(f'    "{pin}",\n' for pin in pins)
PYPROJECT.write_text(BLOCK.sub(lambda found: found[1] + lines + found[2], without), encoding="utf-8")
write_list("requirements.txt", HEADER, for_all)
write_list("requirements-s3.txt", HEADER_S3, [pin for pin in tested if pin not in for_all])
write_list("requirements-docs.txt", HEADER_DOCS, [pin for pin in pins if pin not in tested])
print(f"{len(pins)} packages")
