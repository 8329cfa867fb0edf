"""The Debian package has what it should, and its parts work.

    PROGRAM=target/debug/asana-backup python3 tests/outside/deploy_debian.py

It is made from the debug build that is there, by the script that makes the real one; needs cargo-deb and dpkg-deb.
"""

import os
import re
import subprocess
from pathlib import Path

from deploy import ROOT, said
from world import folder, hold, run_check

MODES = {
    "/usr/bin/asana-backup": "-rwxr-xr-x",
    "/usr/lib/systemd/system/asana-backup.service": "-rw-r--r--",
    "/usr/lib/systemd/system/asana-backup-run@.service": "-rw-r--r--",
    "/usr/lib/systemd/system/asana-backup-run@.timer": "-rw-r--r--",
    "/usr/lib/systemd/system/asana-backup-verify@.service": "-rw-r--r--",
    "/usr/lib/systemd/system/asana-backup-verify@.timer": "-rw-r--r--",
    "/usr/lib/sysusers.d/asana-backup.conf": "-rw-r--r--",
    "/usr/lib/tmpfiles.d/asana-backup.conf": "-rw-r--r--",
    "/usr/share/bash-completion/completions/asana-backup": "-rw-r--r--",
    "/usr/share/zsh/vendor-completions/_asana-backup": "-rw-r--r--",
    "/usr/share/fish/vendor_completions.d/asana-backup.fish": "-rw-r--r--",
    "/usr/share/man/man1/asana-backup.1.gz": "-rw-r--r--",
    "/usr/share/man/man1/asana-backup-run.1.gz": "-rw-r--r--",
    "/usr/share/doc/asana-backup/copyright": "-rw-r--r--",
    "/usr/share/doc/asana-backup/examples/config.toml": "-rw-r--r--",
    "/usr/share/doc/asana-backup/docs/operations.md": "-rw-r--r--",
    "/usr/share/doc/asana-backup/deploy/prometheus/alerts.yaml": "-rw-r--r--",
    "/usr/share/doc/asana-backup/deploy/grafana/dashboard.json": "-rw-r--r--",
    "/usr/share/doc/asana-backup/deploy/iam/bucket-policy.json": "-rw-r--r--",
    "/etc/asana-backup/config.toml": "-rw-r--r--",
}


def made():
    """Makes the package, and says where it is."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    ran = subprocess.run([ROOT / "deploy/debian/build", "dev"], capture_output=True, text=True, timeout=1500)
    hold(ran.returncode == 0, f"deploy/debian/build dev:\n{ran.stdout}{ran.stderr}")
    found = sorted((target / "debian").glob("asana-backup_*.deb"), key=lambda path: path.stat().st_mtime)
    hold(found, "no package was made")
    return found[-1]


def linked(root):
    """Holds what the packaged texts link to, by a path, to be in the package; how many such links there are."""
    count = 0
    for text in (root / "usr/share/doc/asana-backup").rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text.read_text()):
            hold((text.parent / target).is_file(), f"{text.relative_to(root)} leads to {target}, which is not in the package")
            count += 1
    hold(count > 10, f"the texts have {count} links")
    return count


def check():
    package = made()
    text, _ = said(["dpkg-deb", "--contents", package])
    found = {}
    for line in text.splitlines():
        mode, owner, *_, path = line.split(None, 5)
        hold(owner in ("root/root", "0/0"), f"{path} belongs to {owner}")
        found[path.removeprefix(".")] = mode
    for path, mode in MODES.items():
        hold(found.get(path) == mode, f"{path} has the mode {found.get(path)}, not {mode}:\n{text}")
    fields, _ = said(["dpkg-deb", "--field", package])
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    hold(re.search(rf"^Version: {re.escape(version)}-\d", fields, re.MULTILINE), f"the version is not {version}: {fields}")
    hold("ca-certificates" in fields and "libc6" in fields, f"it depends on too little: {fields}")
    with folder() as place:
        for option, where in (("--extract", place / "root"), ("--control", place / "control")):
            text, code = said(["dpkg-deb", option, package, where])
            hold(code == 0, f"dpkg-deb {option}: {text}")
        kept = (place / "control/conffiles").read_text().split()
        hold(kept == ["/etc/asana-backup/config.toml"], f"the conffiles are {kept}")
        for script in ("postinst", "prerm", "postrm"):
            text, code = said(["sh", "-n", place / "control" / script])
            hold(code == 0 and os.access(place / "control" / script, os.X_OK), f"{script}: {text}")
        for named in re.findall(r"/usr/share/doc/[\w./-]+[\w-]", (place / "root/etc/asana-backup/config.toml").read_text()):
            hold((place / "root" / named[1:]).is_file(), f"config.toml names {named}, which is not in the package")
        links = linked(place / "root")
        binary = place / "root/usr/bin/asana-backup"
        text, code = said([binary, "--version"])
        hold(text.strip() == f"asana-backup {version}" and code == 0, f"--version: {text}")
        # What is there to be filled in names nothing yet, and says what to do.
        environment = {"PATH": os.environ["PATH"], "HOME": str(place)}
        text, code = said([binary, "--config", place / "root/etc/asana-backup/config.toml", "check"], env=environment)
        hold(code == 10 and "no organization is named" in text, f"the settings as shipped: {text}")
        text, code = said(["man", "--warnings", "-l", place / "root/usr/share/man/man1/asana-backup.1.gz"])
        hold(code in (0, 127) and "warning" not in text, f"the manual page: {text[:2000]}")
    return f"{package.name} has {len(found)} entries, {links} links that lead to some, and works"


if __name__ == "__main__":
    run_check(check)
