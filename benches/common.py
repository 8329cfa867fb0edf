"""What the benchmarks of whole runs share: a simulated organization, the program's settings, and a measured process."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request

# Without limits: what is measured is what the program costs, not what Asana allows.
CONFIG = """
[pace]
requests_per_minute = 4000000000
searches_per_minute = 4000000000
in_flight = 50
"""


def write_config(folder, more=""):
    """Writes the program's settings; gives their path."""
    path = os.path.join(folder, "config.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(CONFIG + more)
    return path


class Simulator:
    """A simulated organization in a process of its own."""

    def __init__(self, process, world):
        self.process = process
        self.world = world

    def control(self, path, method="POST"):
        """Asks its control API; gives the open answer."""
        request = urllib.request.Request(f"{self.world['listening']}/_sim/{path}", method=method)
        return urllib.request.urlopen(request)

    def environment(self, config, repository):
        """What a program needs to back it up."""
        return dict(
            os.environ,
            ASANA_BACKUP_CONFIG=config,
            ASANA_TOKEN=self.world["token"],
            ASANA_ORGANIZATION=self.world["organization"],
            ASANA_BASE_URL=self.world["base_url"],
            ASANA_BACKUP_REPOSITORY=repository,
        )


@contextlib.contextmanager
def simulator(program, size, *flags, prefix=()):
    """Serves a simulated organization until the block ends."""
    command = [*prefix, program, "simulate", "--listen", "127.0.0.1:0", "--size", size, "--token", "t", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield Simulator(process, json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()


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


def largest_first(requests):
    """The requests of an outcome by operation, the most frequent first."""
    return sorted(requests.items(), key=lambda item: -item[1])
