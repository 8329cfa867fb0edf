#!/usr/bin/env python3
"""Measures what a run costs when little has changed: requests first, by each way to learn what changed.

    cargo build --release && python3 benches/changes.py [--size medium] [--program target/release/asana-backup]

Each way has a first copy of its own. Every measurement goes on from that same copy, with a simulator of the same seed that
was started anew, so that no earlier edit is seen again. Each changed task gets another description, or a comment, in turn.
Nothing is walked, since the first copy is not a day old. The first runs after a first copy that change anything also merge its
parts: they are measured on their own. `--daily` measures instead the run of a day on which a seventh is
walked; it needs `faketime`, since the first copy must be a day old. Needs nothing else but Python.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile

import common

LANES = {
    "organization's events": (),
    "events of projects": ("--no-workspace-events",),
    "search": ("--no-events",),
    "modified since": ("--no-events", "--free-plan"),
}
AT_ONCE = ("--event-delay", "0", "--search-lag", "0")
# More than enough: a run merges parts within a budget.
RUNS_THAT_MERGE = 20
# A run is due for its share of the walk 23 hours after the last; a token of an event stream dies after 24.
A_DAY_AGO = ("faketime", "-f", "-1410m")


class Lane:
    """One way to learn what changed, and its first copy."""

    def __init__(self, options, name, folder, some, prefix=()):
        self.options, self.name = options, name
        self.config = common.write_config(folder)
        self.repository = os.path.join(folder, "repository")
        self.base = os.path.join(folder, "base")
        with self.simulator(prefix) as simulator:
            self.first = self.run(simulator, prefix)
            self.merging = self.merge(simulator, some)
        os.rename(self.repository, self.base)

    def merge(self, simulator, some):
        """Runs with these tasks changed, until the parts of the first copy are merged."""
        runs = []
        for number in range(RUNS_THAT_MERGE):
            for task in some:
                simulator.control(f"edit?kind=touch_task&gid={task}&text={number}").read()
            runs.append(self.run(simulator))
            if runs[-1][0]["bytes"] < 2**20:
                break
        return runs[:-1]

    def simulator(self, prefix=()):
        flags = (*AT_ONCE, *LANES[self.name])
        return common.simulator(self.options.program, self.options.size, *flags, prefix=prefix)

    def run(self, simulator, prefix=()):
        environment = simulator.environment(self.config, self.repository)
        command = [*prefix, self.options.program, "run", "--output", "json"]
        output, wall, cpu, memory = common.measured(command, environment)
        return json.loads(output), wall, cpu, memory

    def changed(self, tasks):
        """A run after these tasks changed, from the first copy on."""
        shutil.copytree(self.base, self.repository)
        try:
            with self.simulator() as simulator:
                for number, task in enumerate(tasks):
                    kind = ("touch_task", "comment")[number % 2]
                    simulator.control(f"edit?kind={kind}&gid={task}&text=changed").read()
                return self.run(simulator)
        finally:
            shutil.rmtree(self.repository)


def some_tasks(options, count):
    """The gids of some tasks, from all over the organization."""
    with common.simulator(options.program, options.size) as simulator:
        every = json.load(simulator.control("counts", "GET"))["tasks"] // max(count, 1) or 1
        lines = simulator.control("truth/tasks", "GET")
        return [json.loads(line)["gid"] for number, line in enumerate(lines) if number % every == 0][:count]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--program", default="target/release/asana-backup")
    options.add_argument("--size", default="medium")
    options.add_argument("--edits", type=int, nargs="*", default=[0, 10, 1000])
    options.add_argument("--times", type=int, default=3, help="each is measured so often; the median counts")
    options.add_argument("--lanes", nargs="*", choices=LANES, default=list(LANES), metavar="LANE")
    options.add_argument("--daily", action="store_true", help="measure the day's share of the walk instead")
    options = options.parse_args()
    tasks = some_tasks(options, max(options.edits))
    print("| changes by | tasks changed | requests | wall | CPU | peak memory | rows new and changed | of the requests |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    for name in options.lanes:
        with tempfile.TemporaryDirectory() as folder:
            lane = Lane(options, name, folder, tasks[:10], A_DAY_AGO if options.daily else ())
            show(name, "first copy", [lane.first])
            if lane.merging:
                show(name, f"10, and merging ({len(lane.merging)} runs)", lane.merging)
            for count in options.edits:
                some = tasks[:: len(tasks) // count or 1][:count] if count else []
                show(name, count, [lane.changed(some) for _ in range(options.times)])


def show(lane, changed, runs):
    outcomes, walls, cpus, memories = zip(*runs)
    totals = [sum(outcome["requests"].values()) for outcome in outcomes]
    outcome = outcomes[totals.index(statistics.median_low(totals))]
    rows = [sum(table[what] for table in outcome["tables"].values()) for what in ("new", "changed")]
    largest = ", ".join(f"{count:,} {name}" for name, count in common.largest_first(outcome["requests"])[:6])
    spread = f" ({min(totals):,} to {max(totals):,})" if min(totals) < max(totals) else ""
    print(
        f"| {lane} | {changed} | {statistics.median_low(totals):,}{spread} | {statistics.median(walls):.1f} s "
        f"| {statistics.median(cpus):.1f} s | {max(memories):.0f} MiB | {rows[0]:,} and {rows[1]:,} | {largest} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
