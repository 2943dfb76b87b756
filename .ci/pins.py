"""`make pins`: takes the newest versions that fit pyproject.toml, writes them there and into requirements.txt."""

import re
import subprocess
from pathlib import Path

PYPROJECT, REQUIREMENTS = Path("pyproject.toml"), Path("requirements.txt")
BLOCK = re.compile(r"(    # pins\n).*?(    # /pins\n)", re.DOTALL)
HEADER = "# Every package at the version that was tested. pyproject.toml holds the same list for uv; see `make pins`.\n"

without = BLOCK.sub(r"\1\2", PYPROJECT.read_text(encoding="utf-8"))
PYPROJECT.write_text(without, encoding="utf-8")
Path("uv.lock").unlink(missing_ok=True)
export = ["uv", "export", "--format", "requirements-txt", "--all-groups", "--no-hashes", "--no-header", "--no-annotate"]
exported = subprocess.run(export, check=True, capture_output=True, text=True).stdout.splitlines()
# Of the conditions, only those on Python's version tell anything here: the platform is settled in pyproject.toml.
conditions = [(pin.split(" ;")[0], re.findall(r"python_full_version [<>=]+ '[\d.]+'", pin)) for pin in exported]
pins = [" ; ".join([pin, *([" and ".join(python)] if python else [])]) for pin, python in conditions]
lines = "".join(f'    "{pin}",\n' for pin in pins)
PYPROJECT.write_text(BLOCK.sub(lambda found: found[1] + lines + found[2], without), encoding="utf-8")
REQUIREMENTS.write_text(HEADER + "\n".join(pins) + "\n", encoding="utf-8")
print(f"{len(pins)} packages")
