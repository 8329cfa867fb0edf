"""The demo's second backup writes what changed, and what it prints at its end works as printed: its own commands in a
shell, its SQL in DuckDB."""

import re
import subprocess
import tempfile

from world import duck, hold, program, run_check


def check():
    with tempfile.TemporaryDirectory() as place:
        demo = subprocess.run(
            [program(), "demo", "--size", "tiny"], cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        hold(demo.returncode == 0, f"the demo ends with {demo.returncode}:\n{demo.stdout}{demo.stderr}")
        second = re.search(r"^snapshot 2 .* ([0-9]+) new parts", demo.stdout, re.MULTILINE)
        hold(second and int(second[1]) > 0, f"the second backup writes what the edits changed:\n{demo.stdout}")
        commands = [line.strip() for line in demo.stdout.splitlines() if line.startswith("  ") and "repository" in line]
        own = [command for command in commands if not command.startswith("duckdb")]
        hold(len(own) == 2, f"the demo prints two commands of its own, and not {own}")
        for command in own:
            ran = subprocess.run(command, shell=True, cwd=place, capture_output=True, text=True)
            hold(ran.returncode == 0, f"`{command}`, as printed, ends with {ran.returncode}:\n{ran.stderr}")
        printed = [re.fullmatch(r'duckdb -c "(.*)"', command) for command in commands if command.startswith("duckdb")]
        hold(len(printed) == 2 and all(printed), f"the demo prints two DuckDB commands, and not {commands}")
        counts = []
        for found in printed:
            sql = found[1].removeprefix("INSTALL iceberg; LOAD iceberg; ")
            hold(sql != found[1], f"`{found[1]}` does not load the extension")
            counts.append(duck().execute(sql).fetchall())
        hold(len(counts[0]) == 10, f"the first query gives {len(counts[0])} rows")
        past = re.search(r"^ tasks +(\d+)", demo.stdout, re.MULTILINE)
        hold(past and counts[1] == [(int(past[1]),)], f"snapshot 1 has {past and past[1]} tasks; DuckDB counts {counts[1]}")
    return f"{len(own)} commands of ours and {len(printed)} of DuckDB's work as the demo prints them"


run_check(check)
