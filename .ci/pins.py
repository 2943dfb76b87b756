"""`make pins`: takes the newest versions that fit pyproject.toml, writes them there and into the lists for pip."""

import re
import subprocess
from pathlib import Path

PYPROJECT, REQUIREMENTS, FOR_S3 = Path("pyproject.toml"), Path("requirements.txt"), Path("requirements-s3.txt")
BLOCK = re.compile(r"(    # pins\n).*?(    # /pins\n)", re.DOTALL)
HEADER = "# Every package at the version that was tested. pyproject.toml holds the same list for uv; see `make pins`.\n"
HEADER_S3 = "# What S3 needs beside requirements.txt, for pip install --no-deps -r; see docs/team.md and `make pins`.\n"
# pip would refuse them beside the rest (pyproject.toml: override-dependencies).
S3 = ("boto3", "dvc-s3", "moto")


def resolved(*without: str) -> list[str]:
    """The pins of all packages but those that only these ones need."""
    export = ["uv", "export", "--format", "requirements-txt", "--all-groups", "--no-hashes", "--no-header"]
    pruned = [word for name in without for word in ("--prune", name)]
    done = subprocess.run([*export, "--no-annotate", *pruned], check=True, capture_output=True, text=True)
    # Of the conditions, only those on Python's version tell anything here: the platform is settled in pyproject.toml.
    lines = done.stdout.splitlines()
    conditions = [(pin.split(" ;")[0], re.findall(r"python_full_version [<>=]+ '[\d.]+'", pin)) for pin in lines]
    return [" ; ".join([pin, *([" and ".join(python)] if python else [])]) for pin, python in conditions]


without = BLOCK.sub(r"\1\2", PYPROJECT.read_text(encoding="utf-8"))
PYPROJECT.write_text(without, encoding="utf-8")
Path("uv.lock").unlink(missing_ok=True)
pins, for_all = resolved(), resolved(*S3)
lines = "".join(f'    "{pin}",\n' for pin in pins)
PYPROJECT.write_text(BLOCK.sub(lambda found: found[1] + lines + found[2], without), encoding="utf-8")
REQUIREMENTS.write_text(HEADER + "\n".join(for_all) + "\n", encoding="utf-8")
FOR_S3.write_text(HEADER_S3 + "\n".join(pin for pin in pins if pin not in for_all) + "\n", encoding="utf-8")
print(f"{len(pins)} packages")
