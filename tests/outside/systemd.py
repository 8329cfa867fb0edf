"""The shipped units under a real systemd: one boots in a container, and runs the program as an administrator would.

    PROGRAM=target/debug/asana-backup python3 tests/outside/systemd.py ROOT [run|daemon|package]

ROOT is a Debian of this machine's own release, made once by debootstrap if it is not there (two minutes) and never written to
afterwards: each boot has a layer of its own. Needs root, debootstrap and systemd-nspawn; cargo-deb for the package. The container shares the network of
this machine, where the simulated Asana listens on 127.0.0.1.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import deploy_debian
from deploy import ROOT, by_hand, said
from world import folder, hold, program, run_check, simulator

BOOT = 240
"""Seconds for a whole boot with all its checks."""

# What is checked within. `note` keeps what a unit came to; the answers are looked at outside.
INSIDE = r"""#!/bin/sh
note() { systemctl show "$1" -p Result -p ExecMainStatus -p ActiveState -p SubState -p NRestarts -p StatusText |
  tr '\n' ' ' | sed "s|^|$2 |; s|$|\n|" >>/results/log; }
until_is() { for _ in $(seq 300); do [ "$(systemctl show "$1" -p "$2" --value)" = "$3" ] && return; sleep 0.1; done; }
exec 2>>/results/errors
set -x
INSTALL; echo "installed ExecMainStatus=$?" >>/results/log
cp /results/config.toml /etc/asana-backup/config.toml
install -m 600 /results/token /etc/asana-backup/acme.token
echo "folder $(stat -c '%U:%G %a' /etc/asana-backup)" >>/results/log
"""
# As deploy/README.md says, with the token pasted.
BINARY = "(cd /source && sh -ex /results/install </results/token)"
PACKAGE = "dpkg -i /source/package.deb </dev/null"
RUN = r"""
# First, also because systemd forgets how a unit ended that nothing refers to.
systemctl start asana-backup-run@acme.timer; note asana-backup-run@acme.timer timer
systemctl start asana-backup-run@acme; note asana-backup-run@acme first
systemctl start asana-backup-run@acme; note asana-backup-run@acme second
echo "repository $(stat -c '%U' /var/lib/asana-backup/acme)" >>/results/log
systemctl start asana-backup-verify@acme.timer; note asana-backup-verify@acme.timer weekly
# It needs no token.
rm /etc/asana-backup/acme.token
systemctl start asana-backup-verify@acme; note asana-backup-verify@acme verified
part=$(find /var/lib/asana-backup/acme/tables/tasks/data -name '*.parquet' | head -n 1)
mv "$part" /var/lib/asana-backup/part
systemctl start asana-backup-verify@acme; note asana-backup-verify@acme damaged
mv /var/lib/asana-backup/part "$part"
install -m 600 /results/token /etc/asana-backup/acme.token
# By hand, as the runbook says: with the daemon's token, that of an organization, and that where settings would name a file.
. /results/by_hand >/results/gaps; echo "by_hand_gaps ExecMainStatus=$?" >>/results/log
token=/etc/asana-backup/acme.token
by_hand run --full --organization acme; echo "by_hand_run ExecMainStatus=$?" >>/results/log
by_hand check --organization acme --output json --token-file /run/credentials/asana-backup-by-hand.service/asana-token >/results/check
echo "foreign $(find /var/lib/asana-backup /var/cache/asana-backup ! -user asana-backup | wc -l)" >>/results/log
# Each instance has its own token: neither that of the daemon nor that of another.
printf wrong | install -m 600 /dev/stdin /etc/asana-backup/other.token
systemctl start asana-backup-run@other; note asana-backup-run@other refused
token=/etc/asana-backup/other.token
by_hand run --organization acme; echo "by_hand_wrong ExecMainStatus=$?" >>/results/log
rm /etc/asana-backup/token
systemctl start asana-backup-run@acme; note asana-backup-run@acme third
"""
DAEMON = r"""
unit=asana-backup.service
systemctl start $unit; note $unit started
systemctl reload $unit; note $unit reloaded
pid=$(systemctl show $unit -p MainPID --value)
echo "environment $(tr '\0' '\n' </proc/$pid/environ | grep -c canary)" >>/results/log
systemctl stop $unit; note $unit stopped
# Stuck, and found to be: the watchdog, with less patience than usual.
mkdir -p /run/systemd/system/$unit.d
printf '[Service]\nWatchdogSec=10s\nTimeoutAbortSec=1s\nRestartSec=100ms\n' >/run/systemd/system/$unit.d/quick.conf
systemctl daemon-reload
systemctl start $unit; note $unit watched
kill -STOP "$(systemctl show $unit -p MainPID --value)"
until_is $unit NRestarts 1; until_is $unit ActiveState active; note $unit restarted
systemctl stop $unit
# What trying again cannot mend is not tried again: nor a token that is not there.
mv /etc/asana-backup/token /etc/asana-backup/kept
systemctl start $unit; until_is $unit ActiveState failed; note $unit tokenless
mv /etc/asana-backup/kept /etc/asana-backup/token
echo 'no_such_key = 1' >/etc/asana-backup/config.toml
systemctl start $unit; until_is $unit ActiveState failed; note $unit refused
"""
PACKAGED = r"""
unit=asana-backup.service
said() { echo "$1 $2" >>/results/log; }
is_enabled() { said "$1" "$(systemctl is-enabled $unit)"; }
main() { systemctl show $unit -p MainPID --value; }
is_enabled fresh
install -m 600 /results/token /etc/asana-backup/token
systemctl enable --now $unit; note $unit started
systemctl enable --now asana-backup-verify@acme.timer
systemctl enable 'asana-backup-run@an\x20other.timer'
links() { find /etc/systemd/system -name 'asana-backup*' -type l | wc -l; }
said wanted "$(links)"
before=$(main)
dpkg -i /source/package.deb </dev/null; echo "again ExecMainStatus=$?" >>/results/log
note $unit upgraded; is_enabled kept
[ "$before" = "$(main)" ] && said process old || said process new
cmp /results/config.toml /etc/asana-backup/config.toml && said settings kept
# Settings that it cannot start with leave no package half configured.
echo 'no_such_key = 1' >>/etc/asana-backup/config.toml
dpkg -i /source/package.deb </dev/null; echo "wrong ExecMainStatus=$?" >>/results/log
cp /results/config.toml /etc/asana-backup/config.toml
systemctl reset-failed $unit; systemctl start $unit; note $unit mended
for _ in $(seq 300); do [ -e /var/lib/asana-backup/acme/repository.json ] && break; sleep 0.1; done
last=$(main)
dpkg -r asana-backup; echo "removed ExecMainStatus=$?" >>/results/log
[ -d "/proc/$last" ] && said running still || said running nothing
[ -e /usr/bin/asana-backup ] || said program gone
said dangling "$(links)"
systemctl is-active --quiet asana-backup-verify@acme.timer && said timer running || said timer nothing
dpkg --purge asana-backup; echo "purged ExecMainStatus=$?" >>/results/log
for file in /etc/asana-backup/token /var/lib/asana-backup/acme /var/cache/asana-backup /etc/asana-backup/config.toml; do
  [ -e $file ] && said $file there || said $file gone
done
id asana-backup >/dev/null && said owner there
"""
END = "journalctl --no-pager -o cat -u 'asana-backup*' >/results/journal\nsystemctl poweroff\n"
CHECK = "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/sh /results/inside\n"


def ready(root):
    """Makes the Debian that boots, if it is not there."""
    if (root / "ready").exists():
        return
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE))
    sources = "".join(path.read_text() for path in Path("/etc/apt").rglob("sources.list*") if path.is_file())
    sources += "".join(path.read_text() for path in Path("/etc/apt/sources.list.d").glob("*") if path.is_file())
    mirrors = re.findall(r"https?://\S+/debian/?(?=\s)", sources) or ["http://deb.debian.org/debian"]
    shutil.rmtree(root, ignore_errors=True)
    packages = "systemd,systemd-sysv,dbus,ca-certificates"
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", release["VERSION_CODENAME"], str(root), mirrors[0]]
    made = subprocess.run(command, capture_output=True, text=True, timeout=900)
    hold(made.returncode == 0, f"debootstrap: {made.stdout[-2000:]}{made.stderr[-2000:]}")
    (root / "ready").touch()


def install():
    """What deploy/README.md says to install the binary, up to where the service is enabled."""
    binary = (ROOT / "deploy" / "README.md").read_text().split("**The binary.**")[1]
    return re.search(r"^```sh\n(.*?)^```$", binary, re.MULTILINE | re.DOTALL)[1]


def boot(root, place, script, package=None):
    """Boots, installs all that is shipped, runs a script in there, and gives back what it noted."""
    (place / "inside").write_text(INSIDE.replace("INSTALL", PACKAGE if package else BINARY) + script + END)
    (place / "by_hand").write_text(by_hand("systemd"))
    (place / "install").write_text(install())
    (place / "check.service").write_text(CHECK)
    bound = {
        program(): "/source/asana-backup",
        ROOT / "deploy": "/source/deploy",
        ROOT / "config": "/source/config",
        place / "check.service": "/etc/systemd/system/check.service",
    }
    if package:
        bound[package] = "/source/package.deb"
    binds = [f"--bind-ro={Path(source).resolve()}:{target}" for source, target in bound.items()]
    command = ["systemd-nspawn", "--quiet", f"--directory={root}", "--volatile=overlay", "--register=no", "--keep-unit"]
    command += [f"--machine=asana-backup-{os.getpid()}", f"--bind={place}:/results", *binds]
    command += ["--console=pipe", "--boot", "systemd.wants=check.service"]
    try:
        booted = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOOT)
        console = booted.stdout[-3000:] + booted.stderr[-3000:]
    except subprocess.TimeoutExpired:
        # What was noted until then says where it stuck.
        console = f"the boot took longer than {BOOT} s"
    log = place / "log"
    errors = (place / "errors").read_text() if (place / "errors").exists() else ""
    hold(log.exists(), f"nothing was noted:\n{console}\n{errors}")
    noted = dict(line.split(" ", 1) for line in log.read_text().splitlines())
    journal = (place / "journal").read_text() if (place / "journal").exists() else ""
    more = f"{console}\n{errors[-3000:]}\n{journal[-6000:]}"
    expect(noted, more, "installed", ExecMainStatus="0")
    return noted, more


def expect(noted, more, name, **wanted):
    """Holds what was noted of a unit to what is wanted."""
    found = dict(re.findall(r"(\w+)=(\S*)", noted.get(name, "")))
    for key, value in wanted.items():
        hold(found.get(key) == value, f"{name}: {key} is {found.get(key)}, not {value}: {noted.get(name)}\n{more}")


def world_of(world, place):
    (place / "token").write_text(world.token)
    lines = ["[organizations.acme]", f'gid = "{world.organization}"', 'repository = "/var/lib/asana-backup/acme"']
    (place / "config.toml").write_text("\n".join([*lines, f'base_url = "{world.base_url}"', ""]))


def run(root):
    """The one-shot services and their timers."""
    with folder() as place, simulator("tiny", token="canary") as world:
        world_of(world, place)
        # Gaps from the first run on: exit 3, which is no failure.
        fault = {"path": "/tasks/*/stories", "kind": {"status": {"status": 403, "retry_after": None}}, "every": 9}
        world.control("/faults", "POST", fault)
        with open(place / "config.toml", "a") as config:
            acme = (place / "config.toml").read_text()
            config.write(acme.replace("acme", "other"))
        noted, more = boot(root, place, RUN)
        hold(noted.get("folder") == "root:asana-backup 750", f"/etc/asana-backup: {noted.get('folder')}\n{more}")
        expect(noted, more, "first", Result="success", ExecMainStatus="3")
        expect(noted, more, "second", Result="success")
        hold(noted["second"].split("ExecMainStatus=")[1][0] in "03", noted["second"])
        hold(noted.get("repository") == "asana-backup", f"the repository is {noted.get('repository')}'s\n{more}")
        for timer in ("timer", "weekly"):
            expect(noted, more, timer, ActiveState="active", SubState="waiting")
        expect(noted, more, "verified", Result="success", ExecMainStatus="0")
        expect(noted, more, "damaged", Result="exit-code", ExecMainStatus="20")
        expect(noted, more, "by_hand_gaps", ExecMainStatus="0")
        hold("403" in (place / "gaps").read_text(), f"by hand, gaps are {(place / 'gaps').read_text()}\n{more}")
        hold(noted["by_hand_run"][-1] in "03", f"by hand, a run ends with {noted['by_hand_run']}\n{more}")
        checked = [json.loads(line) for line in (place / "check").read_text().splitlines()]
        hold([one["ok"] for one in checked if one["what"] == "token"] == [True], f"by hand: {checked}\n{more}")
        expect(noted, more, "by_hand_wrong", ExecMainStatus="12")
        hold(noted["foreign"] == "0", f"by hand, {noted['foreign']} files are not the service's\n{more}")
        expect(noted, more, "refused", Result="exit-code", ExecMainStatus="12")
        expect(noted, more, "third", Result="success")
        hold("canary" not in more, "the token is shown")
    return "under a real systemd: a run with gaps is a success, each has its own token, a refused one is a failure with 12, a verify tells whole from damaged, a command by hand does as the service, the timers wait"


def daemon(root):
    """The daemon: readiness, reload, stop, watchdog."""
    with folder() as place, simulator("tiny", token="canary") as world:
        world_of(world, place)
        noted, more = boot(root, place, DAEMON)
        expect(noted, more, "started", ActiveState="active", SubState="running")
        expect(noted, more, "reloaded", ActiveState="active", NRestarts="0")
        hold(noted.get("environment") == "0", "the token is in the daemon's environment")
        expect(noted, more, "stopped", ActiveState="inactive", Result="success")
        expect(noted, more, "watched", ActiveState="active")
        expect(noted, more, "restarted", ActiveState="active", NRestarts="1")
        expect(noted, more, "tokenless", ActiveState="failed", ExecMainStatus="243", NRestarts="0")
        expect(noted, more, "refused", ActiveState="failed", Result="exit-code", ExecMainStatus="10", NRestarts="0")
        hold("canary" not in more, "the token is shown")
    return "under a real systemd: ready, reloaded, stopped; stuck and started anew; not tried again with wrong settings"


def package(root):
    """The Debian package: installed, started, upgraded, removed and purged."""
    with folder() as place, simulator("tiny", token="canary") as world:
        world_of(world, place)
        noted, more = boot(root, place, PACKAGED, deploy_debian.made())
        hold(noted.get("folder") == "root:asana-backup 750", f"/etc/asana-backup: {noted.get('folder')}\n{more}")
        hold(noted.get("fresh") == "disabled", f"installed, the daemon is {noted.get('fresh')}\n{more}")
        for moment in ("started", "upgraded", "mended"):
            expect(noted, more, moment, ActiveState="active", SubState="running")
        for step in ("again", "wrong", "removed", "purged"):
            expect(noted, more, step, ExecMainStatus="0")
        found = {"kept": "enabled", "process": "new", "settings": "kept", "running": "nothing", "program": "gone", "owner": "there"}
        found |= {"wanted": "3", "dangling": "0", "timer": "nothing"}
        found |= {"/etc/asana-backup/token": "there", "/var/lib/asana-backup/acme": "there"}
        found |= {"/var/cache/asana-backup": "gone", "/etc/asana-backup/config.toml": "gone"}
        for what, wanted in found.items():
            hold(noted.get(what) == wanted, f"{what} is {noted.get(what)}, not {wanted}\n{more}")
        hold("canary" not in more, "the token is shown")
    return "under a real systemd, by dpkg: installed and not enabled; upgraded with a new process and the old settings; removed and purged without the backup"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: systemd.py ROOT [run|daemon|package]")
    parts = {"run": run, "daemon": daemon, "package": package}
    chosen = [parts[sys.argv[2]]] if len(sys.argv) == 3 else list(parts.values())
    where = Path(sys.argv[1]).resolve()
    ready(where)
    for part in chosen:
        run_check(lambda: part(where))
