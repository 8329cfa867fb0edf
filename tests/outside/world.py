"""The world the checks live in: a simulated Asana, a store that speaks S3, the program, and the readers.

Rule: whatever is started here listens on 127.0.0.1 alone, writes below one temporary folder, and is stopped and
removed at the end, however the check ends. What is waited for is an answer, never a length of time.

PROGRAM names the `asana-backup` to check; SIMULATOR may name another binary that serves the simulated Asana.
"""

import contextlib
import importlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOKEN = "service-account-token"
KEYS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret123"}
PATIENCE = 300.0
"""Seconds in which anything that starts must answer; only a broken machine takes that long."""

TABLES = (
    "workspaces users workspace_memberships teams team_memberships custom_fields tags projects custom_field_settings"
    " sections portfolios portfolio_items tasks stories attachments"
).split()


class Broken(Exception):
    """A promise is broken; the text says which one, and where."""


def hold(condition, promise):
    """Ends the check unless the condition holds."""
    if not condition:
        raise Broken(promise)


def run_check(check):
    """Runs a check, prints what it says, and turns a broken promise into exit code 1."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        said = check()
    except Broken as broken:
        print(f"BROKEN: {broken}", flush=True)
        sys.exit(1)
    print(f"{said} ({time.monotonic() - began:.0f} s)", flush=True)


def program():
    """The program that is checked."""
    path = os.environ.get("PROGRAM")
    if not path:
        sys.exit("PROGRAM must name the asana-backup binary to check")
    return path


def free_ports(count):
    """Ports that nobody listens on, of those below what the kernel gives away by itself: nobody takes one meanwhile."""
    held = []
    try:
        for port in random.SystemRandom().sample(range(15_000, 32_000), 1_000):
            sock = socket.socket()
            try:
                sock.bind(("127.0.0.1", port))
                held.append(sock)
            except OSError:
                sock.close()
            if len(held) == count:
                return [sock.getsockname()[1] for sock in held]
        raise AssertionError("there are no free ports")
    finally:
        for sock in held:
            sock.close()


def stop(process):
    """Ends a process that was started here, and waits until it is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stdin):
        if stream:
            stream.close()


class Answer:
    """One HTTP answer: status, headers, body as it came."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def fetch(url, headers=None, method="GET", body=None):
    """Sends one request, and gives the answer whatever its status."""
    request = urllib.request.Request(url, headers=headers or {}, method=method, data=body)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return Answer(refused.code, dict(refused.headers), refused.read())


class Simulator:
    """A simulated Asana: the API, and behind it the control of its life and the truth of what it holds."""

    def __init__(self, process, hello, token):
        self.process, self.token = process, token
        self.base_url = hello["base_url"].rstrip("/")
        self.organization = str(hello["organization"])
        split = urllib.parse.urlsplit(self.base_url)
        self.root = f"{split.scheme}://{split.netloc}"

    def ask(self, path, query=None, token=None, headers=None):
        """GETs a path below the base URL, as the service account or with another token."""
        url = self.base_url + path
        if query:
            url += "?" + urllib.parse.urlencode(query, safe=",")
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", "Accept": "application/json"}
        sent.update(headers or {})
        return fetch(url, {name: value for name, value in sent.items() if value is not None})

    def data(self, path, query=None):
        """What a path answers, which must be 200."""
        answer = self.ask(path, query)
        hold(answer.status == 200, f"GET {path} {query or ''} answers {answer.status}: {answer.body[:300]!r}")
        return answer.json["data"]

    def listed(self, path, query=None, limit=100):
        """All records of a list, page after page."""
        query, records = dict(query or {}, limit=limit), []
        while True:
            answer = self.ask(path, query)
            hold(answer.status == 200, f"GET {path} {query} answers {answer.status}: {answer.body[:300]!r}")
            page = answer.json
            records.extend(page["data"])
            if not page.get("next_page"):
                return records
            query["offset"] = page["next_page"]["offset"]

    def control(self, path, method="GET", body=None):
        """Calls the control API."""
        sent = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if sent else {}
        answer = fetch(f"{self.root}/_sim{path}", headers, method, sent)
        hold(answer.status < 300, f"the simulator refuses {method} /_sim{path}: {answer.status} {answer.body[:300]!r}")
        return answer.json if answer.body.strip() else None

    def truth(self, table, at=None):
        """Every live record of a table with all its fields, now or as of a moment."""
        query = {"format": "lines", **({"at": at} if at else {})}
        answer = fetch(f"{self.root}/_sim/truth/{table}?{urllib.parse.urlencode(query)}")
        hold(answer.status == 200, f"the simulator has no truth of {table}: {answer.status} {answer.body[:300]!r}")
        return [json.loads(line) for line in answer.body.splitlines() if line.strip()]

    def log(self):
        """The requests there were, oldest first."""
        return self.control("/log")

    def advance(self, edits):
        """Makes so many edits at once, and says what was done."""
        return self.control(f"/advance?edits={edits}", "POST")

    def edit(self, kind, gid, text=""):
        """Makes one edit of one record."""
        return self.control("/edit?" + urllib.parse.urlencode({"kind": kind, "gid": gid, "text": text}), "POST")


@contextlib.contextmanager
def simulator(size="small", seed=7, token=TOKEN, more=(), reads_only=True):
    """Serves a simulated Asana for as long as the block runs; at its end nobody may have done anything but read."""
    other = os.environ.get("SIMULATOR")
    command = [other] if other else [program(), "simulate"]
    command += ["--listen", "127.0.0.1:0", "--size", str(size), "--seed", str(seed), "--token", token, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        line = process.stdout.readline() if ready else b""
        hold(line.startswith(b"{"), f"{' '.join(command)} does not say on its first line where it listens: {line!r}")
        served = Simulator(process, json.loads(line), token)
        yield served
        if reads_only:
            methods = served.control("/requests")["methods"]
            hold(set(methods) <= {"GET"}, f"something else than reading was asked for: {methods}")
    finally:
        stop(process)


@contextlib.contextmanager
def folder():
    """A temporary folder, gone afterwards."""
    path = tempfile.mkdtemp(prefix="asana-backup-outside-")
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Store:
    """Where a repository lives: a URL, the environment the program needs for it, and how readers reach it."""

    def __init__(self, url, environment=None, endpoint=None):
        self.url, self.environment, self.endpoint = url.rstrip("/"), environment or {}, endpoint
        self._objects = None

    def _filesystem(self):
        if self._objects is None:
            if self.endpoint:
                import pyarrow.fs

                self._objects = pyarrow.fs.S3FileSystem(
                    access_key=self.environment["AWS_ACCESS_KEY_ID"],
                    secret_key=self.environment["AWS_SECRET_ACCESS_KEY"],
                    endpoint_override=self.endpoint,
                    region=self.environment["AWS_REGION"],
                )
            else:
                import pyarrow.fs

                self._objects = pyarrow.fs.LocalFileSystem()
        return self._objects

    def path(self, key=""):
        """The path of a key, as the file system below takes it."""
        split = urllib.parse.urlsplit(self.url)
        root = f"{split.netloc}{split.path}" if split.scheme == "s3" else split.path
        return f"{root}/{key}" if key else root

    def keys(self, prefix=""):
        """Every key below a prefix, with its size."""
        import pyarrow.fs

        selector = pyarrow.fs.FileSelector(self.path(prefix), recursive=True, allow_not_found=True)
        found = self._filesystem().get_file_info(selector)
        start = len(self.path()) + 1
        return {info.path[start:]: info.size for info in found if info.is_file}

    def read(self, key):
        """The bytes under a key."""
        with self._filesystem().open_input_stream(self.path(key)) as stream:
            return stream.read()

    def json(self, key):
        return json.loads(self.read(key))


@contextlib.contextmanager
def seaweed(place, keys=KEYS, more=(), ready=None):
    """SeaweedFS, a server that speaks S3, with one bucket. `ready` may try in its own way whether it takes writes."""
    weed = Path(sys.executable).parent / "weed"
    weed = str(weed) if weed.exists() else shutil.which("weed")
    hold(weed, "SeaweedFS (`weed`) is not installed")
    names = ["master", "volume", "filer", "s3", "admin"]
    ports = free_ports(2 * len(names))
    data = place / "seaweed"
    data.mkdir()
    command = [weed, "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"]
    command += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-bucket=backups", *more]
    for name, port, grpc in zip(names, ports[0::2], ports[1::2]):
        command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc}"]
    port = ports[6]
    log = open(place / "seaweed.log", "wb")
    process = subprocess.Popen(
        command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=data, env={**os.environ, **keys}
    )
    try:
        endpoint = f"{'https' if more else 'http'}://127.0.0.1:{port}"
        environment = {**keys, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
        store = Store("s3://backups/acme", environment, endpoint)
        store.shell = [weed, "shell", f"-master=127.0.0.1:{ports[0]}.{ports[1]}"]
        until = time.monotonic() + PATIENCE
        while True:
            hold(process.poll() is None, f"SeaweedFS ended at once: {(place / 'seaweed.log').read_text()[-2000:]}")
            try:
                (ready or writable)(store)
                break
            except OSError as refused:
                hold(time.monotonic() < until, f"SeaweedFS does not take a write: {refused}")
                select.select([], [], [], 0.1)
        yield store
    finally:
        stop(process)
        log.close()


def writable(store):
    """Writes one object; OSError until the store takes it."""
    with store._filesystem().open_output_stream("backups/ready") as stream:
        stream.write(b"yes")


def start_program(arguments, environment):
    """Starts the program with nothing of the caller's own settings in its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASANA", "AWS_"))}
    return subprocess.Popen(
        [program(), *arguments],
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def run_program(arguments, environment, codes=(0,)):
    """Runs the program to its end; gives what it printed."""
    process = start_program(arguments, environment)
    out, err = process.communicate()
    hold(
        process.returncode in codes,
        f"asana-backup {' '.join(arguments)} ends with {process.returncode}:\n{out.decode()}{err.decode()}",
    )
    return out.decode()


def settings(world, store, place):
    """The environment in which the program backs up this world into this store, as fast as both can."""
    token_file, config = place / "token", place / "config.toml"
    token_file.write_text(world.token)
    lines = [
        "[organizations.acme]",
        f'gid = "{world.organization}"',
        f'token_file = "{token_file}"',
        f'repository = "{store.url}"',
        f'base_url = "{world.base_url}"',
    ]
    if store.endpoint:
        region = store.environment["AWS_REGION"]
        lines += ["[organizations.acme.store]", f'endpoint = "{store.endpoint}"', f'region = "{region}"']
        lines += ["path_style = true", "allow_http = true"]
    lines += ["[pace]", "requests_per_minute = 1000000", "searches_per_minute = 1000000"]
    config.write_text("\n".join(lines) + "\n")
    secrets = {
        name: store.environment[name] for name in store.environment if name.endswith("_KEY") or name.endswith("_ID")
    }
    return {"ASANA_BACKUP_CONFIG": str(config), "HOME": str(place), **secrets}


def duck(store=None):
    """DuckDB with the extensions that its wheels brought, and nothing fetched."""
    import duckdb

    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for name in ("httpfs", "avro", "iceberg"):
        wheel = Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
        file = wheel / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        connection.execute(f"LOAD '{file}'")
    connection.execute("SET TimeZone = 'UTC'")
    if store and store.endpoint:
        settings = store.environment
        connection.execute(f"""CREATE SECRET (TYPE s3, KEY_ID '{settings["AWS_ACCESS_KEY_ID"]}',
            SECRET '{settings["AWS_SECRET_ACCESS_KEY"]}', REGION '{settings["AWS_REGION"]}',
            ENDPOINT '{store.endpoint.removeprefix("http://")}', URL_STYLE 'path', USE_SSL false)""")
    return connection


def iceberg_properties(store):
    """What PyIceberg needs to reach the store."""
    if not store.endpoint:
        return {}
    settings = store.environment
    return {
        "s3.endpoint": store.endpoint,
        "s3.access-key-id": settings["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": settings["AWS_SECRET_ACCESS_KEY"],
        "s3.region": settings["AWS_REGION"],
    }
