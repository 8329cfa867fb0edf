#!/usr/bin/env python3
"""Measures whole backups of a simulated organization over loopback: wall and CPU time, peak memory, requests.

    cargo build --release && python3 benches/backup.py [--size medium] [--program target/release/asana-backup]

The simulator runs in a process of its own, without limits, so this is what the program costs, not what Asana allows.
The second run reads everything again; `--edits N` lets the organization live in between. Needs nothing but Python.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

CONFIG = """
[pace]
requests_per_minute = 4000000000
searches_per_minute = 4000000000
in_flight = 50
"""


def measured(command, environment):
    """Runs a command; gives its standard output, wall seconds, CPU seconds and peak resident MiB."""
    began = os.times().elapsed
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    wall = os.times().elapsed - began
    return output, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--program", default="target/release/asana-backup")
    options.add_argument("--size", default="medium")
    options.add_argument("--edits", type=int, default=0)
    options.add_argument("--open-parts-mib", type=int, help="the budget of open parts; the default without it")
    options.add_argument("--repository", help="a new folder or s3:// URL; a temporary folder without it")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
            if options.open_parts_mib:
                file.write(f"[memory]\nopen_parts_mib = {options.open_parts_mib}\n")
        simulator = subprocess.Popen(
            [options.program, "simulate", "--listen", "127.0.0.1:0", "--size", options.size, "--token", "t"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            world = json.loads(simulator.stdout.readline())
            repository = options.repository or os.path.join(folder, "repository")
            environment = dict(
                os.environ,
                ASANA_BACKUP_CONFIG=config,
                ASANA_TOKEN="t",
                ASANA_ORGANIZATION=world["organization"],
                ASANA_BASE_URL=world["base_url"],
                ASANA_BACKUP_REPOSITORY=repository,
            )
            for name in ("first", "second"):
                output, wall, cpu, memory = measured([options.program, "run", "--output", "json"], environment)
                show(name, json.loads(output), wall, cpu, memory)
                if name == "first" and options.edits:
                    url = f"{world['listening']}/_sim/advance?edits={options.edits}"
                    urllib.request.urlopen(urllib.request.Request(url, method="POST")).read()
            _, wall, cpu, memory = measured([options.program, "verify", "--deep"], environment)
            print(f"verify --deep: {wall:.1f} s, {cpu:.1f} CPU s, {memory:.0f} MiB")
        finally:
            simulator.terminate()
            simulator.wait()


def show(name, outcome, wall, cpu, memory):
    rows = sum(table["rows"] for table in outcome["tables"].values())
    requests = outcome["requests"]
    print(
        f"{name}: {rows} rows, {sum(requests.values())} requests in {wall:.1f} s: {rows / wall:.0f} records/s, "
        f"{cpu:.1f} CPU s, peak {memory:.0f} MiB, {outcome['parts']} parts of {outcome['bytes'] / 2**20:.1f} MiB"
    )
    for operation, count in sorted(requests.items(), key=lambda item: -item[1]):
        print(f"    {count:>8} {operation}")


if __name__ == "__main__":
    main()
