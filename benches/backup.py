#!/usr/bin/env python3
"""Measures whole backups of a simulated organization over loopback: wall and CPU time, peak memory, requests.

    cargo build --release && python3 benches/backup.py [--size medium] [--program target/release/asana-backup]

The simulator runs in a process of its own, without limits, so this is what the program costs, not what Asana allows.
The second run reads everything again; `--edits N` lets the organization live in between. Needs nothing but Python.
"""

import argparse
import json
import os
import tempfile

import common


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--program", default="target/release/asana-backup")
    options.add_argument("--size", default="medium")
    options.add_argument("--edits", type=int, default=0)
    options.add_argument("--open-parts-mib", type=int, help="the budget of open parts; the default without it")
    options.add_argument("--repository", help="a new folder or s3:// URL; a temporary folder without it")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, common.simulator(options.program, options.size) as simulator:
        budget = f"[memory]\nopen_parts_mib = {options.open_parts_mib}\n" if options.open_parts_mib else ""
        config = common.write_config(folder, budget)
        environment = simulator.environment(config, options.repository or os.path.join(folder, "repository"))
        run = [options.program, "run", "--output", "json"]
        for name, command in (("first", run), ("second", [*run, "--full"])):
            output, wall, cpu, memory = common.measured(command, environment)
            show(name, json.loads(output), wall, cpu, memory)
            if name == "first" and options.edits:
                simulator.control(f"advance?edits={options.edits}").read()
        _, wall, cpu, memory = common.measured([options.program, "verify", "--deep"], environment)
        print(f"verify --deep: {wall:.1f} s, {cpu:.1f} CPU s, {memory:.0f} MiB")


def show(name, outcome, wall, cpu, memory):
    rows = sum(table["rows"] for table in outcome["tables"].values())
    requests = outcome["requests"]
    print(
        f"{name}: {rows} rows, {sum(requests.values())} requests in {wall:.1f} s: {rows / wall:.0f} records/s, "
        f"{cpu:.1f} CPU s, peak {memory:.0f} MiB, {outcome['parts']} parts of {outcome['bytes'] / 2**20:.1f} MiB",
        flush=True,
    )
    for operation, count in common.largest_first(requests):
        print(f"    {count:>8} {operation}")


if __name__ == "__main__":
    main()
