"""Lets eight writers race for thirty snapshots on SeaweedFS: each has one winner, and it is the one that is there.

    cargo build --example race && python3 tests/outside/race.py target/debug/examples/race
"""

import json
import os
import subprocess
import sys

from world import PATIENCE, folder, hold, run_check, seaweed

WRITERS, ROUNDS = 8, 30


def check(race):
    with folder() as place, seaweed(place) as store:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        ran = subprocess.run(
            [race, store.url, str(WRITERS), str(ROUNDS)],
            env={**environment, **store.environment},
            capture_output=True,
            text=True,
            timeout=10 * PATIENCE,
        )
        hold(ran.returncode == 0, f"the race ends with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
        rounds = json.loads(ran.stdout)["rounds"]
        hold(len(rounds) == ROUNDS, f"{len(rounds)} of {ROUNDS} rounds were run")
        for one in rounds:
            hold(one["won"] == [one["there"]], f"round {one['number']} was won by {one['won']}: {one}")
            hold(one["lost"] == WRITERS - 1, f"round {one['number']}: {one}")
        return f"{WRITERS} writers, {ROUNDS} rounds, one winner each"


if __name__ == "__main__":
    run_check(lambda: check(*sys.argv[1:]))
