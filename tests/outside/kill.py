"""Kills the program at random moments, over and over, and holds what is left to the truth.

    kill.py                  100 kills by SIGKILL, a third of them over SeaweedFS, the others over a folder
    kill.py --kills 10000    more of them
    kill.py --term           by SIGTERM, after which the program must end with 143 within 5 seconds
    kill.py --seed 17        the same organization and the same draws again; the moments are those of the machine

While runs are killed, the simulated organization lives. After each kill, snapshots are numbered without a hole, and
whatever readers without a catalog find was committed. At the end life stops: a run ends what a kill left, and the next
one must reach the truth, in every row and column that DuckDB and PyIceberg read; and `verify --deep` must find every
snapshot whole.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from readback import Proof
from world import Store, folder, hold, run_check, run_program, seaweed, simulator, start_program

LIFE = 5
"""Edits a second."""
SOON = 5.0
"""Seconds in which SIGTERM must end the program."""
LATE = 3.0
"""Seconds that a busy machine may take besides: to end a process, and to tell of it."""
CORRUPT = 20
OVERTIME = 1.1
"""Up to so much of the time of a whole run, a kill is drawn: some come too late."""


class Victim:
    """A repository whose runs are killed."""

    def __init__(self, world, store, place, draw):
        self.proof, self.world, self.store, self.draw = Proof(world, store, place), world, store, draw
        self.environment = self.proof.environment
        self.committed, self.hashes, self.seen = set(), {}, set()
        self.took = 0.0
        self.kills = self.late = self.unsaid = 0
        self.slowest = 0.0

    def whole_run(self):
        """A run that nobody kills, to see how long one takes."""
        began = time.monotonic()
        run_program(["run"], self.environment, codes=(0, 3))
        self.took = time.monotonic() - began
        self.look()

    def kill(self, by):
        """Kills a run after a random part of the time that one takes; one that was over before is none."""
        # What was on its way to the store when the run before was killed is there by now.
        self.look()
        snapshots, began = len(self.committed), time.monotonic()
        # Most runs read what changed; one in four reads everything, and does not go on where another kind stopped.
        how = ("--full",) if self.draw.random() < 0.25 else ()
        process = start_program(["run", *how], self.environment)
        # Half of the kills come when a run commits.
        earliest = self.draw.choice((0.0, 0.6))
        try:
            out, err = process.communicate(timeout=self.draw.uniform(earliest, OVERTIME) * self.took)
            hold(process.returncode in (0, 3), f"a run ends with {process.returncode}:\n{out.decode()}{err.decode()}")
            self.took = time.monotonic() - began
            self.late += 1
        except subprocess.TimeoutExpired:
            # A run that takes longer than any did before is killed too early, until one is let through.
            self.took *= 1.02
            process.send_signal(by)
            began = time.monotonic()
            process.communicate()
            self.ended(process.returncode, by, time.monotonic() - began)
        self.look()
        hold(len(self.committed) <= snapshots + 1, f"one run made snapshots {sorted(self.committed)[snapshots:]}")

    def ended(self, code, by, seconds):
        if code in (0, 3):
            self.late += 1
            return
        self.kills += 1
        if by == signal.SIGKILL:
            return hold(code == -signal.SIGKILL, f"a killed run ends with {code}")
        self.slowest = max(self.slowest, seconds)
        # Before the program listens for signals the system ends it, which shells call 143 too.
        self.unsaid += code == -signal.SIGTERM
        hold(code in (143, -signal.SIGTERM), f"after SIGTERM the program ends with {code}")
        hold(seconds <= SOON + LATE, f"after SIGTERM the program takes {seconds:.1f} s to end")

    def look(self):
        """Snapshots are numbered without a hole, and only what they name is published."""
        committed = self.proof.committed()
        hold(self.committed <= committed, f"snapshots are gone: {sorted(self.committed - committed)}")
        names = [f"snapshots/{number + 1:020}.json" for number in range(len(committed))]
        hold(sorted(committed) == names, f"the snapshots are {sorted(committed)}")
        for name in committed - self.committed:
            for table in self.store.json(name)["tables"].values():
                self.hashes[table["metadata_sha256"]] = name
        self.committed = committed
        sizes = self.store.keys("tables")
        for key in sizes.keys() - self.seen:
            folder, name = key.rsplit("/", 1)
            if name == "version-hint.text":
                version = self.store.read(key).decode().strip()
                hold(f"{folder}/v{version}.metadata.json" in sizes, f"{key} points at {version!r}, which is not there")
            elif name.startswith("v") and "#" not in name:
                found = hashlib.sha256(self.store.read(key)).hexdigest()
                hold(found in self.hashes, f"{key} is published, and no snapshot names it")
                self.seen.add(key)

    def verify(self, *more):
        """Every snapshot is whole. What is published may be behind after a kill: the next run sets it right."""
        process = start_program(["verify", "--output", "json", *more], self.environment)
        out, err = process.communicate()
        hold(process.returncode in (0, CORRUPT), f"verify ends with {process.returncode}: {err.decode()}")
        report = json.loads(out)
        findings = [finding for finding in report["findings"] if more or "/metadata/v" not in finding["object"]]
        hold(not findings, f"verify finds {findings[:3]}")
        return report

    def settle(self):
        """When life stands still, the run that goes on with a killed one ends it, and the next one reaches the truth. The
        first may not: what it takes up was read before the kill, and no event tells of a user's new name."""
        self.world.control("/life?rate=0", "POST")
        run_program(["run"], self.environment, codes=(0, 3))
        self.look()
        state = self.proof.run()
        self.look()
        self.proof.compare(state)
        report = self.verify("--deep")
        return f"{self.kills} kills, {self.late} too late, {state.number} snapshots, {report['rows_compared']} rows"


def prove(place, store, arguments, kills, seed):
    draw = random.Random(seed)
    by = signal.SIGTERM if arguments.term else signal.SIGKILL
    with simulator(arguments.size, seed=seed, more=("--search-lag", "0", "--life", str(LIFE))) as world:
        warm = place / "warm"
        warm.mkdir()
        first = Victim(world, Store(f"{store.url}-warm", store.environment, store.endpoint), warm, draw)
        first.whole_run()
        victim = Victim(world, store, place, draw)
        victim.took = first.took
        while victim.kills < kills:
            victim.kill(by)
            if victim.kills % 25 == 24 and victim.committed:
                victim.verify()
        said = f"{store.url.split(':')[0] if store.endpoint else 'folder'}: {victim.settle()}"
        if arguments.term:
            said += f", the slowest end {victim.slowest:.2f} s, {victim.unsaid} before it listened"
        return said


def has_seaweed():
    return (Path(sys.executable).parent / "weed").exists() or shutil.which("weed")


def check():
    parser = argparse.ArgumentParser(description="Kills the program at random moments.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--term", action="store_true", help="by SIGTERM")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1_000_000))
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--store", choices=("local", "s3"), help="one of them alone")
    arguments = parser.parse_args()
    again = " --term" if arguments.term else ""
    print(f"repeat: kill.py --seed {arguments.seed} --kills {arguments.kills}{again}", flush=True)
    over_s3 = 0 if arguments.store == "local" or not has_seaweed() else arguments.kills // 3
    over_s3 = arguments.kills if arguments.store == "s3" else over_s3
    said = []
    if over_s3 < arguments.kills:
        with folder() as place:
            store = Store(str(place / "repository"))
            said.append(prove(place, store, arguments, arguments.kills - over_s3, arguments.seed))
    if over_s3:
        with folder() as place, seaweed(place) as store:
            said.append(prove(place, store, arguments, over_s3, arguments.seed + 1))
    return "; ".join(said)


if __name__ == "__main__":
    run_check(check)
