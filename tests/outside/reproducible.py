"""Two release builds of the same sources, in two folders, are the same bytes.

    python3 tests/outside/reproducible.py            two release builds, a quarter of an hour of CPU each

Outside the usual run because of its cost. The flags are those of deploy/docker/Dockerfile.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from deploy import ROOT
from world import folder, hold, run_check


def build(archive, sources, home):
    """Builds a copy of the sources, and gives the digest of the program."""
    sources.mkdir()
    subprocess.run(["tar", "-x", "-C", sources], input=archive, check=True)
    flags = f"--remap-path-prefix={sources}=/asana-backup --remap-path-prefix={home}=/cargo"
    more = {"RUSTFLAGS": flags, "CARGO_INCREMENTAL": "0", "SOURCE_DATE_EPOCH": "0", "CARGO_TARGET_DIR": f"{sources}/target"}
    # A cache of compiled crates would prove nothing.
    more["RUSTC_WRAPPER"] = ""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--no-default-features", "--bin", "asana-backup"]
    ran = subprocess.run(command, cwd=sources, env={**os.environ, **more}, capture_output=True, text=True)
    hold(ran.returncode == 0, f"{' '.join(command)}: {ran.stderr[-3000:]}")
    content = (sources / "target/release/asana-backup").read_bytes()
    hold(str(sources).encode() not in content, f"the program names {sources}")
    return hashlib.sha256(content).hexdigest()


def check():
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    # What is committed, once: somebody may commit more meanwhile.
    archive = subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], capture_output=True, check=True).stdout
    with folder() as place:
        digests = [build(archive, place / name, home) for name in ("one", "another-place")]
    hold(digests[0] == digests[1], f"two builds differ: {digests}")
    return f"two release builds are the same bytes, sha256 {digests[0]}"


if __name__ == "__main__":
    run_check(check)
