"""What the program is made of, as CycloneDX: every package that Cargo.lock names, and nothing else.

    python3 tests/outside/sbom.py target/asana-backup.cdx.json
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from deploy import ROOT
from world import hold, run_check


def check(path):
    command = ["syft", "scan", f"file:{ROOT / 'Cargo.lock'}", "--quiet", "--output", f"cyclonedx-json={path}"]
    name = ["--source-name", "asana-backup"]
    ran = subprocess.run([*command, *name], capture_output=True, text=True, timeout=120)
    hold(ran.returncode == 0, f"syft: {ran.stderr}")
    made = json.loads(Path(path).read_text())
    hold(made["bomFormat"] == "CycloneDX", f"{path} is no CycloneDX")
    lock = (ROOT / "Cargo.lock").read_text()
    wanted = set(re.findall(r'^name = "(.*)"\nversion = "(.*)"', lock, re.MULTILINE))
    found = {(one["name"], one["version"]) for one in made["components"] if one["type"] == "library"}
    hold(found == wanted, f"the bill lacks {wanted - found}, and has {found - wanted} that no one locked")
    return f"{len(found)} packages of Cargo.lock in {path}"


if __name__ == "__main__":
    run_check(lambda: check(*sys.argv[1:]))
