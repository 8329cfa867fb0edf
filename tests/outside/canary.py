"""Gives the program canaries for secrets, lets it do all that it can, and looks for them in everything it leaves.

    canary.py               over SeaweedFS
    canary.py --store local over a folder, where there are no keys

Every verb runs at TRACE, and so do the ways to fail: a token that is refused, one that is revoked in the middle of a run,
a wrong key, a store that is down, nobody who takes pings and pushes. Then standard output and error, what the status server
answers, what pings and pushes bring, the arguments of the running processes, every object of the repository (unpacked: the
pages of parts, journals and lists), the folders for temporary files, home and work are searched for each canary as it is, in base64, by percent and by backslash. A signed URL counts as a secret, too, and so
does asking for one. At the end canaries are planted in each kind of artefact: those the search must find.

The environment of the process holds what its caller put there. Nothing of ours: the token comes from a file, and the
keys of the store are the caller's own.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from telemetry import listening
from world import PATIENCE, Store, fetch, folder, free_ports, hold, program, run_check, seaweed, settings, simulator

CANARIES = {
    "the Asana token": "1/canary/of+asana==token:4711",
    "the next Asana token": "1/canary/of+asana==tomorrow:4712",
    "a refused Asana token": "1/canary/of+asana==nobody:4713",
    "the access key": "CANARYACCESSKEY4714",
    "the secret key": "canary/secret+key=4715&more",
    "a wrong secret key": "canary/secret+key=4716&wrong",
    "the password of a proxy": "canary-of-the-proxy-4717",
    "the address of the heartbeat": "canary-of-the-heartbeat-4718",
    "the password of the Pushgateway": "canary-of-the-gateway-4719",
    "the token of the status server": "canary/of+the==status-4720",
}
SIGNED = "X-Amz-Signature"
"""What every signed URL of the simulated Asana has in it."""
VERBS = [
    (["run", "--explain"], (0, 3)),
    (["run", "--verbose", "--output", "json"], (0, 3)),
    (["run", "--full"], (0, 3)),
    (["backfill", "--all"], (0, 3)),
    (["gaps"], (0,)),
    (["gaps", "--output", "json"], (0,)),
    (["snapshots"], (0,)),
    (["snapshots", "--output", "json"], (0,)),
    (["status"], (0, 3)),
    (["status", "--output", "json"], (0, 3)),
    (["verify", "--deep"], (0,)),
    (["verify", "--output", "json"], (0,)),
    (["check"], (0, 3, 14)),
    (["check", "--output", "json"], (0, 3, 14)),
    (["resources"], (0,)),
    (["man"], (0,)),
    (["man", "--folder", "../pages"], (0,)),
    (["--help"], (0,)),
]
ACCEPTS = [
    (["gaps", "accept", "--reason", "it is private", "--table", "stories", "--until", "2001-01-31"], (0,)),
    (["gaps", "accept", "--reason", "it is private", "--output", "json"], (0,)),
    (["gaps"], (0,)),
]
"""What is done about gaps, where there are some."""
SOON = 4.0
"""Seconds that are given to what would go on for long."""
PANIC = 101


def forms(canary):
    """A canary as it is, in base64 wherever it begins, by percent and by backslash."""
    plain = canary.encode()
    yield plain
    yield urllib.parse.quote(canary, safe="").encode()
    yield urllib.parse.quote(canary).encode()
    yield urllib.parse.quote_plus(canary).lower().encode()
    yield json.dumps(canary).strip('"').replace("/", "\\/").encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            packed = encode(b"\0" * shift + plain).rstrip(b"=")
            # The first and the last characters hold bits of what is beside it.
            yield packed[-(-shift * 4 // 3) : -2]


FORMS = {name: set(forms(canary)) for name, canary in CANARIES.items()} | {"a signed URL": set(forms(SIGNED))}


def found(data):
    """The canaries in some bytes."""
    lowered = data.lower()
    return {
        name for name, all_forms in FORMS.items() if any(form in data or form.lower() in lowered for form in all_forms)
    }


def unpacked(name, data):
    """Bytes as they are, and what is packed in them."""
    yield data
    if name.endswith(".zst"):
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            yield stream.read()
    if name.endswith(".parquet"):
        table = pq.read_table(pa.BufferReader(data))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        yield sink.getvalue().to_pybytes()


class Search:
    """What was searched, and what was found where."""

    def __init__(self):
        self.searched = self.bytes = 0
        self.hits = []

    def look(self, name, data):
        self.searched += 1
        self.bytes += len(data)
        for canary in sorted(set().union(found(name.encode()), *(found(part) for part in unpacked(name, data)))):
            self.hits.append((canary, name))

    def look_below(self, place, what):
        for path in sorted(place.rglob("*")):
            # What is there while a process runs may be gone the moment after.
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    self.look(f"{what} {path.relative_to(place)}", path.read_bytes())

    def look_into(self, store):
        for key in sorted(store.keys()):
            # As it lies there: a stream would unpack by the name.
            with store._filesystem().open_input_file(store.path(key)) as file:
                self.look(key, file.read())


class Cage:
    """Where the program runs: with a home, a folder for temporary files and one to work in, and all that it says kept."""

    def __init__(self, place, environment):
        self.place, self.search = place, Search()
        self.folders = {name: place / name for name in ("home", "tmp", "work", "state", "pages")}
        for path in self.folders.values():
            path.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASANA", "AWS_"))}
        self.environment = {
            **kept,
            **environment,
            "HOME": str(self.folders["home"]),
            "TMPDIR": str(self.folders["tmp"]),
            "XDG_STATE_HOME": str(self.folders["state"]),
            "ASANA_BACKUP_LOG": "trace",
            "RUST_BACKTRACE": "full",
            "HTTPS_PROXY": f"http://user:{CANARIES['the password of a proxy']}@127.0.0.1:9",
        }
        self.runs = 0

    def run(self, arguments, codes=None, more=None, meanwhile=None, patience=PATIENCE, serves=False):
        """Runs the program at TRACE, watches it, and searches what it said. Without codes it must fail, or be ended."""
        name = f"{self.runs}: {' '.join(arguments)}"
        self.runs += 1
        process = subprocess.Popen(
            [program(), *arguments],
            env={**self.environment, **(more or {})},
            cwd=self.folders["work"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        watch = threading.Thread(target=self.watch, args=(process, name))
        watch.start()
        if meanwhile:
            meanwhile(process)
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate()
            hold(codes is None or serves, f"`{name}` does not end within {patience} s:\n{err.decode()[-2000:]}")
        watch.join()
        self.search.look(f"standard output of {name}", out)
        self.search.look(f"standard error of {name}", err)
        code = process.returncode
        hold(code != PANIC, f"`{name}` panics:\n{err.decode()[-2000:]}")
        hold(code != 0 if codes is None else code in codes, f"`{name}` ends with {code}:\n{err.decode()[-3000:]}")
        return err

    def watch(self, process, name):
        """Looks at the arguments of a process, and at its temporary files, for as long as it lives."""
        while process.poll() is None:
            with contextlib.suppress(OSError):
                self.search.look(f"arguments of {name}", Path(f"/proc/{process.pid}/cmdline").read_bytes())
            self.search.look_below(self.folders["tmp"], f"temporary files of {name}")
            time.sleep(0.5)


def asks(cage, address):
    """Asks a daemon for all that it tells: with its token, with another, and with none."""

    def meanwhile(process):
        while process.poll() is None:
            with contextlib.suppress(OSError):
                if fetch(f"{address}/readyz").status == 200:
                    break
            time.sleep(0.1)
        bearers = {CANARIES["the token of the status server"]: 200, CANARIES["a refused Asana token"]: 401, None: 401}
        for path in ("/statusz", "/metrics"):
            for bearer, status in bearers.items():
                answer = fetch(address + path, {"Authorization": f"Bearer {bearer}"} if bearer else {})
                hold(answer.status == status, f"{path} answers {answer.status} and not {status}: {answer.body[:200]}")
                cage.search.look(f"what {path} answers", json.dumps(answer.headers).encode() + answer.body)
        for path in ("/livez", "/readyz", "/nowhere"):
            cage.search.look(f"what {path} answers", fetch(address + path).body)
        process.terminate()

    return meanwhile


def accept(cage, world):
    """Lets gaps come to be, and accepts them."""
    refused = {"path": "/tasks/*/stories", "kind": {"status": {"status": 403, "retry_after": None}}, "every": 9}
    world.control("/faults", "POST", refused)
    cage.run(["run", "--full"], (3,))
    for arguments, codes in ACCEPTS:
        cage.run(arguments, codes)
    world.control("/faults", "DELETE")


def succeed(cage, token_file, world, address):
    """All that goes well, and a token that is replaced while it does."""
    for arguments, codes in VERBS:
        if arguments[0] in ("run", "backfill"):
            world.advance(20)
        cage.run(arguments, codes)
    cage.run(["daemon"], (0,), meanwhile=asks(cage, address))
    accept(cage, world)

    def rotate(process):
        aside = token_file.with_suffix(".new")
        aside.write_text(CANARIES["the next Asana token"])
        aside.rename(token_file)
        world.control(f"/tokens?revoke={urllib.parse.quote(CANARIES['the Asana token'], safe='')}", "POST")

    world.control(f"/tokens?issue={urllib.parse.quote(CANARIES['the next Asana token'], safe='')}", "POST")
    cage.run(["run", "--full"], (0, 3), meanwhile=rotate)


def fail(cage, place, store):
    """Ways to fail; nobody takes pings and pushes any more."""
    said = cage.run(["run"], (0, 3))
    hold(b"heartbeat ping" in said and b"metrics not pushed" in said, f"pings and pushes do not fail:\n{said[-3000:]}")
    wrong = place / "wrong-token"
    wrong.write_text(CANARIES["a refused Asana token"])
    for verb in ("run", "check"):
        cage.run([verb, "--token-file", str(wrong)], (12,))
    cage.run(["run", "--token-file", str(wrong), "--base-url", "http://127.0.0.1:9/api/1.0"], None, patience=SOON)
    cage.run(["verify", "--repository", str(place / "nowhere")], None)
    if not store.endpoint:
        return
    secret = {"AWS_SECRET_ACCESS_KEY": CANARIES["a wrong secret key"]}
    for verb in ("run", "verify", "check"):
        cage.run([verb], None, more=secret, patience=SOON)
    config = Path(cage.environment["ASANA_BACKUP_CONFIG"])
    down = place / "down.toml"
    down.write_text(config.read_text().replace(store.endpoint, f"http://127.0.0.1:{free_ports(1)[0]}"))
    cage.run(["run", "--config", str(down)], None, patience=SOON)


def plant(cage, store, place):
    """Hides canaries in each kind of artefact, and holds the search to finding them all."""
    token = CANARIES["the Asana token"]
    column = pa.table({"_raw": [f'{{"name": "{token}", "n": {n}}}' for n in range(1000)]})
    part, packed = io.BytesIO(), pa.BufferOutputStream()
    pq.write_table(column, part, compression="zstd", use_dictionary=False, write_statistics=False)
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(json.dumps([{"sync": token, "n": n} for n in range(1000)]).encode())
    secret = CANARIES["the secret key"] if store.endpoint else token
    planted = {
        "planted/1.parquet": part.getvalue(),
        "planted/2.journal.zst": packed.getvalue().to_pybytes(),
        "planted/3.json": urllib.parse.quote(secret, safe="").encode(),
        "planted/4.json": base64.b64encode(b"user:" + secret.encode()),
        "planted/5.json": f"https://x.example/file?{SIGNED}=00".encode(),
        f"planted/{CANARIES['the access key']}": b"",
    }
    for name in list(planted)[:2]:
        hold(not found(planted[name]), f"{name} is not packed, and shows nothing")
    if not store.endpoint:
        (Path(store.path()) / "planted").mkdir()
    for key, data in planted.items():
        with store._filesystem().open_output_stream(store.path(key), compression=None) as stream:
            stream.write(data)
    search = Search()
    search.look_into(store)
    hits = {name for _, name in search.hits}
    hold(hits == set(planted), f"planted in {sorted(planted)}, and found in {sorted(hits)}")
    (cage.folders["tmp"] / "planted").write_text(f"x{token}x")
    search = Search()
    search.look_below(cage.folders["tmp"], "temporary files")
    hold(len(search.hits) == 1, f"planted in one temporary file, and found in {search.hits}")
    # A process whose argument is a canary is seen as one.
    speaks = ["sh", "-c", "echo; read _", "sh", token]
    process = subprocess.Popen(speaks, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    # Before it speaks, the system may not show its arguments yet.
    process.stdout.readline()
    search = Search()
    search.look("arguments", Path(f"/proc/{process.pid}/cmdline").read_bytes())
    process.communicate()
    hold(len(search.hits) == 1, "a canary among the arguments of a process is not found")
    return len(planted) + 2


def prove(place, store):
    token = CANARIES["the Asana token"]
    with simulator("tiny", token=token, more=("--search-lag", "0", "--latency", "5")) as world:
        environment = settings(world, store, place)
        config, [port] = Path(environment["ASANA_BACKUP_CONFIG"]), free_ports(1)
        token_file, status_token = place / "token", place / "status-token"
        status_token.write_text(CANARIES["the token of the status server"])
        cage = Cage(place, environment)
        with listening() as listener:
            (place / "heartbeat").write_text(f"{listener.url}/{CANARIES['the address of the heartbeat']}")
            user = f"//pusher:{CANARIES['the password of the Pushgateway']}@"
            (place / "gateway").write_text(listener.url.replace("//", user))
            own = f'[organizations.acme]\nheartbeat_url_file = "{place / "heartbeat"}"'
            config.write_text(
                config.read_text().replace("[organizations.acme]", own, 1)
                + f'[status]\nlisten = "127.0.0.1:{port}"\ntoken_file = "{status_token}"\n'
                + f'[metrics]\npushgateway_url_file = "{place / "gateway"}"\n'
            )
            succeed(cage, token_file, world, f"http://127.0.0.1:{port}")
            pings = [path for path in listener.paths() if CANARIES["the address of the heartbeat"] in path]
            hold(pings and len(pings) < len(listener.told), f"nobody was pinged, or pushed to: {listener.paths()}")
            for path, _, body in listener.told:
                cage.search.look("what a ping or a push brings", body)
        fail(cage, place, store)
        targets = [request["target"] for request in world.log()]
        asked = [target for target in targets if "download_url" in target or "view_url" in target]
        hold(not asked, f"signed URLs are asked for: {asked[:2]}")
        for name, path in cage.folders.items():
            cage.search.look_below(path, name)
        left = list(cage.folders["work"].rglob("*"))
        hold(not left, f"the program leaves files where it works, such as a core: {left}")
        cage.search.look_into(store)
        hits = sorted(set(cage.search.hits))
        hold(not hits, f"{len(hits)} canaries are found:\n" + "\n".join(f"  {name} in {where}" for name, where in hits))
        planted = plant(cage, store, place)
    search = cage.search
    return (
        f"{cage.runs} runs at TRACE, {search.searched} artefacts, {search.bytes >> 10} KiB: no canary in any,"
        f" and all {planted} planted ones are found"
    )


def check():
    parser = argparse.ArgumentParser(description="Looks for canaries in all that the program leaves.")
    parser.add_argument("--store", choices=("local", "s3"))
    arguments = parser.parse_args()
    weed = (Path(sys.executable).parent / "weed").exists() or shutil.which("weed")
    with folder() as place:
        if arguments.store == "local" or not weed:
            return prove(place, Store(str(place / "repository")))
        keys = {
            "AWS_ACCESS_KEY_ID": CANARIES["the access key"],
            "AWS_SECRET_ACCESS_KEY": CANARIES["the secret key"],
        }
        with seaweed(place, keys) as store:
            return prove(place, store)


if __name__ == "__main__":
    run_check(check)
