"""Watches the program as an administrator would: files, pushes, pings, spans, the status server, and nobody listening.

    telemetry.py             everything
    telemetry.py --rules     only the alerts and their tests, by promtool

Whoever listens here is a small server that remembers what it was told. Where promtool is installed it judges the metrics,
and the alerts against their tests.
"""

import argparse
import contextlib
import http.client
import http.server
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

from world import PATIENCE, Broken, Store, fetch, folder, free_ports, hold, program, run_check, settings, simulator, start_program, stop

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
TOKEN = "canary-token-that-nobody-may-see"
PASSWORD = "canary-password"
KEPT = 15
"""Days for which a Prometheus keeps what it is not told to keep for longer."""
DELAY = 12.0
"""Seconds by which listeners that hang may lengthen a run: each has a limit of its own."""


class Listener:
    """A server that remembers what it was told, in order."""

    def __init__(self, status=200, hang=False):
        self.told, self.status = [], status
        listener, self.released = self, threading.Event()

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                listener.told.append((self.path, headers, body))
                if hang:
                    listener.released.wait(PATIENCE)
                    return
                self.send_response(listener.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_PUT = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def paths(self):
        return [path for path, _, _ in self.told]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def listening(**how):
    listener = Listener(**how)
    try:
        yield listener
    finally:
        listener.close()


class Watched:
    """An organization that is backed up, and everything that listens to it."""

    def __init__(self, world, place):
        self.world, self.place = world, place
        self.environment = settings(world, Store(str(place / "repository")), place)
        self.config = place / "config.toml"
        self.base = self.config.read_text()
        self.textfile = place / "asana_backup.prom"

    def set(self, tables="", heartbeat=None):
        base = self.base
        if heartbeat:
            (self.place / "heartbeat").write_text(heartbeat + "\n")
            line = f'heartbeat_url_file = "{self.place / "heartbeat"}"\n[pace]'
            base = base.replace("[pace]", line, 1)
        self.config.write_text(base + tables)

    def run(self, *arguments, code=0, **environment):
        """Runs the program; gives its log, in which no secret may be."""
        process = start_program([*arguments], {**self.environment, **environment})
        out, err = process.communicate()
        hold(process.returncode == code, f"{arguments} ends with {process.returncode}: {out.decode()}{err.decode()}")
        said = out.decode() + err.decode()
        for secret in (TOKEN, PASSWORD, "/ping/"):
            hold(secret not in said, f"{arguments} shows {secret}: {[l for l in said.splitlines() if secret in l][:1]}")
        return err.decode()

    def metrics(self):
        return samples(self.textfile.read_text())


def samples(text):
    """Prometheus' text, as a dictionary from name and labels to value."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            found[series] = float(value)
    return found


def named(name, organization="acme"):
    return f'asana_backup_{name}{{organization="{organization}"}}'


def judged(text):
    """promtool finds nothing to warn of."""
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True)
        said = (done.stdout + done.stderr).decode()
        hold(done.returncode == 0 and not said.strip(), f"promtool check metrics says {said}")


def file_and_push(watched):
    """A run writes a file and pushes; one that fails leaves the last success; a verification adds its own."""
    with listening() as gateway:
        secret = gateway.url.replace("http://", f"http://user:{PASSWORD}@")
        watched.set(f'[metrics]\ntextfile = "{watched.textfile}"\npushgateway_url = "{secret}/at"\n')
        watched.run("run")
        judged(watched.textfile.read_text())
        first = watched.metrics()
        hold(first[named("last_exit_code")] == 0, "the file does not say how the run ended")
        hold(abs(first[named("last_success_timestamp_seconds")] - time.time()) < 300, "the last success is not now")
        hold(first[named("snapshot_number")] == 1, "the file does not name the snapshot")
        hold(first['asana_backup_rows{organization="acme",table="tasks"}'] > 0, "the file counts no rows")
        hold(first[named("expected_interval_seconds")] == 3600, "the file does not say how often runs are expected")
        asked = sum(value for series, value in first.items() if series.startswith("asana_backup_api_requests_total"))
        hold(asked > 10 and first[named("api_bytes_total")] > 1000, "the file counts no requests")
        hold(first[named("parts_total")] > 0 and first[named("written_bytes_total")] > 0, "the file counts no parts")
        hold(not any("checkpoint_age" in series for series in first), "a run that is over has no age of its checkpoint")
        (path, headers, body) = gateway.told[-1]
        hold(path == "/at/metrics/job/asana_backup/organization/acme", f"the push goes to {path}")
        hold("authorization" in headers, "the gateway's password is not used")
        judged(body.decode())
        hold(named("last_success_timestamp_seconds") in samples(body.decode()), "the push has no last success")
        watched.run("verify")
        hold(watched.metrics()[named("last_verify_exit_code")] == 0, "verify is not told of")
        hold(named("last_verified_timestamp_seconds") in watched.metrics(), "verify is not told of")
        token = watched.place / "token"
        token.write_text("another-word")
        watched.run("run", code=12)
        token.write_text(TOKEN)
        failed = watched.metrics()
        hold(failed[named("last_exit_code")] == 12, "the file does not say that the run failed")
        for kept in ("last_success_timestamp_seconds", "last_verified_timestamp_seconds", "snapshot_number"):
            expected = watched.metrics()[named(kept)] if kept.startswith("last_verified") else first[named(kept)]
            hold(failed[named(kept)] == expected, f"a run that failed changes {kept}")
        pushed = samples(gateway.told[-1][2].decode())
        hold(named("last_success_timestamp_seconds") not in pushed, "a run that failed pushes a last success")
        watched.run("run")
        hold(watched.metrics()[named("api_bytes_total")] > first[named("api_bytes_total")], "a counter goes back")
        # Another organization in the same file, which this process knows nothing of.
        text = watched.textfile.read_text() + 'asana_backup_rows{organization="other",table="tasks"} 9\n'
        watched.textfile.write_text(text)
        watched.run("run")
        hold(watched.metrics()['asana_backup_rows{organization="other",table="tasks"}'] == 9, "another's rows are gone")
        judged(watched.textfile.read_text())


def patiently(part, watched):
    """A deadline of the program itself may pass because the machine is busy, but not three times in a row."""
    for again in (True, True, False):
        try:
            return part(watched)
        except Broken:
            if not again:
                raise


def pings(watched):
    """Start, success and failure arrive, in order, with one run id each, and no secret."""
    with listening() as monitor:
        watched.set(heartbeat=f"{monitor.url}/ping/abc?create=1")
        token = watched.place / "token"
        token.write_text(TOKEN)
        watched.run("run")
        token.write_text("another-word")
        watched.run("run", code=12)
        token.write_text(TOKEN)
        split = [urllib.parse.urlsplit(path) for path in monitor.paths()]
        expected = ["/ping/abc/start", "/ping/abc", "/ping/abc/start", "/ping/abc/12"]
        hold([one.path for one in split] == expected, f"the pings are {monitor.paths()}")
        rids = [urllib.parse.parse_qs(one.query)["rid"][0] for one in split]
        hold(rids[0] == rids[1] != rids[2] == rids[3], f"the run ids are {rids}")
        uuid = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        hold(all(re.fullmatch(uuid, rid) for rid in rids), f"the run ids are {rids}")
        bodies = [body.decode() for _, _, body in monitor.told]
        hold("snapshot" in bodies[1] and "token" in bodies[3], f"the bodies are {bodies}")
        hold(all(len(body) <= 10_000 and TOKEN not in body for body in bodies), "a body is too long, or tells a secret")


def nobody_listens(watched):
    """Listeners that are dead, refuse or hang neither fail a run nor hold it up for long."""
    [dead] = free_ports(1)
    watched.set()
    began = time.monotonic()
    watched.run("run")
    usual = time.monotonic() - began
    slowest = 0.0
    with listening(hang=True) as hangs, listening(status=500) as refuses:
        for url in (f"http://127.0.0.1:{dead}", refuses.url, hangs.url):
            tables = f'[metrics]\ntextfile = "{watched.place}/missing/file.prom"\npushgateway_url = "{url}"\n'
            watched.set(tables, heartbeat=f"{url}/ping/abc")
            # The machine may hold up one run; a listener would hold up each.
            for _ in range(3):
                began = time.monotonic()
                log = watched.run("run", OTEL_EXPORTER_OTLP_ENDPOINT=url)
                took = time.monotonic() - began - usual
                if took < DELAY:
                    break
            slowest = max(slowest, took)
            hold(took < DELAY, f"a listener holds a run up for {took:.1f} s")
            for said in ("heartbeat ping", "metrics not pushed", "metrics not written"):
                hold(said in log, f"nothing is said where `{said}` should be: {log}")
    return slowest


def spans(watched):
    """Spans and metrics arrive by OTLP, under the names they have everywhere."""
    with listening() as collector:
        watched.set()
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-canary={PASSWORD}",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        }
        watched.run("run", **environment)
        told = {}
        for path, headers, body in collector.told:
            hold(headers.get("content-type") == "application/x-protobuf", f"OTLP comes as {headers}")
            hold(headers.get("x-canary") == PASSWORD, f"headers are {headers}")
            told[path] = told.get(path, b"") + body
        hold(set(told) == {"/v1/traces", "/v1/metrics"}, f"OTLP comes to {set(told)}")
        for name in (b"job", b"stage", b"walk", b"commit", b"acme", b"asana-backup", b"deployment.environment"):
            hold(name in told["/v1/traces"], f"the spans do not name {name}")
        for name in (b"asana_backup_last_success_timestamp_seconds", b"asana_backup_api_requests_total", b"acme"):
            hold(name in told["/v1/metrics"], f"the metrics do not name {name}")
        hold(TOKEN.encode() not in b"".join(told.values()), "the token is exported")
        count = len(collector.told)
        watched.run("run", **environment, OTEL_SDK_DISABLED="true")
        log = watched.run("run", **environment, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
        hold(len(collector.told) == count, "something is exported although it is turned off")
        hold("http/protobuf" in log, "nobody says that there is no gRPC")


def at_a_terminal(watched, *arguments):
    """What a person reads of standard error."""
    reads, writes = pty.openpty()
    done = subprocess.run(
        [program(), *arguments], env={**os.environ, **watched.environment}, stdout=subprocess.DEVNULL, stderr=writes, timeout=PATIENCE
    )
    os.close(writes)
    said = bytearray()
    # A terminal whose other end is closed is an error, once all is read.
    with contextlib.suppress(OSError), os.fdopen(reads, "rb", buffering=0) as terminal:
        while some := terminal.read(1 << 16):
            said += some
    return done.returncode, said.decode()


def logs(watched):
    """JSON where there is no terminal, whatever level is asked for; no token and no signature in it. Sentences where there is one."""
    watched.set()
    code, said = at_a_terminal(watched, "verify", "--snapshot", "999")
    hold(code != 0 and "error: " in said and "  remedy: " in said and "{" not in said, f"a person at a terminal reads {said!r}")
    log = watched.run("run", ASANA_BACKUP_LOG="trace")
    lines = [json.loads(line) for line in log.splitlines()]
    ours = [line for line in lines if line.get("spans")]
    hold(any(span.get("organization") == "acme" for line in ours for span in line["spans"]), "no line names it")
    for secret in ("X-Amz-Signature", "X-Amz-Credential", "uthorization", "Bearer"):
        hold(secret not in log, f"the log shows {secret}")
    return len(lines)


def fields(datagram):
    """What the journal's own protocol says: NAME=value, or NAME, the value's length in eight bytes, and the value."""
    found = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, plain, value = line.partition(b"=")
        if not plain:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        found[name.decode()] = value.decode()
        datagram = rest
    return found


def journal(watched):
    """Where standard error is the journal, it gets fields. Played by a socket, where there is no journal to disturb."""
    path = Path("/run/systemd/journal/socket")
    if os.geteuid() != 0 or path.exists():
        return "no journal to play"
    made = [parent for parent in (path.parent, path.parent.parent) if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listens:
        try:
            listens.bind(str(path))
            listens.settimeout(PATIENCE)
            listens.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            reads, writes = os.pipe()
            own = os.fstat(writes)
            environment = {**os.environ, **watched.environment, "JOURNAL_STREAM": f"{own.st_dev}:{own.st_ino}"}
            process = subprocess.Popen([program(), "run"], env=environment, stdout=subprocess.DEVNULL, stderr=writes)
            os.close(writes)
            while not any(line.get("MESSAGE") == "backup ends" for line in lines):
                lines.append(fields(listens.recv(1 << 16)))
            hold(process.wait(timeout=PATIENCE) == 0, f"a run under systemd ends with {process.returncode}")
            with os.fdopen(reads, "rb") as rest:
                hold(rest.read() == b"", "a line goes to the journal twice")
        finally:
            path.unlink(missing_ok=True)
            for parent in made:
                with contextlib.suppress(OSError):
                    parent.rmdir()
    ended = next(line for line in lines if line.get("MESSAGE") == "backup ends")
    expected = {"ORGANIZATION": "acme", "EXIT_CODE": "0", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "asana-backup"}
    hold(expected.items() <= ended.items(), f"the journal's last line is {ended}")
    return "the journal has fields"


def wait_for(url, headers=None, status=200):
    until = time.monotonic() + PATIENCE
    while True:
        try:
            answer = fetch(url, headers)
            if answer.status == status:
                return answer
        except (OSError, http.client.HTTPException):
            pass
        hold(time.monotonic() < until, f"{url} does not answer {status}")
        time.sleep(0.1)


def daemon(watched):
    """The daemon's status server, and a Prometheus that scrapes it."""
    [port, other] = free_ports(2)
    token = watched.place / "status.token"
    token.write_text("open-sesame\n")
    far = f'[status]\nlisten = "0.0.0.0:{port}"\n'
    watched.set(far)
    said = watched.run("daemon", "--state", str(watched.place), code=10)
    hold("token_file" in said, f"a daemon that anybody can reach starts without a token: {said}")
    watched.set(f'[status]\nlisten = "127.0.0.1:{port}"\ntoken_file = "{token}"\n')
    root, bearer = f"http://127.0.0.1:{port}", {"Authorization": "Bearer open-sesame"}
    process = start_program(["daemon", "--state", str(watched.place)], watched.environment)
    drained = threading.Thread(target=process.stderr.read, daemon=True)
    drained.start()
    try:
        wait_for(f"{root}/livez")
        wait_for(f"{root}/readyz")
        for path in ("/metrics", "/statusz"):
            hold(fetch(root + path).status == 401, f"{path} is open to anybody")
        metrics = wait_for(f"{root}/metrics", bearer).body.decode()
        judged(metrics)
        found = samples(metrics)
        known = ("last_success_timestamp_seconds", "last_attempt_timestamp_seconds", "snapshot_number", "held_deletions")
        for name in (*known, "expected_interval_seconds"):
            hold(named(name) in found, f"a daemon that starts does not tell {name}")
        hold(any(series.startswith("asana_backup_rows{") for series in found), "a daemon that starts counts no rows")
        status = wait_for(f"{root}/statusz", bearer).json
        hold("acme" in status["organizations"], f"/statusz says {status}")
        for secret in (TOKEN, "open-sesame"):
            hold(secret not in metrics + json.dumps(status), "the status server tells a secret")
        said = scraped(watched.place, port, other, token) if shutil.which("prometheus") else "no prometheus"
        process.send_signal(signal.SIGTERM)
        hold(process.wait(timeout=PATIENCE) == 0, f"the daemon ends with {process.returncode}")
        return said
    finally:
        stop(process)


def scraped(place, port, other, token):
    """A real Prometheus loads the alerts, scrapes the daemon and answers for it."""
    config = {
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")],
        "scrape_configs": [
            {
                "job_name": "asana-backup",
                "scrape_interval": "1s",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
                "authorization": {"credentials_file": str(token)},
            }
        ],
    }
    (place / "prometheus.yml").write_text(json.dumps(config))
    command = ["prometheus", f"--config.file={place / 'prometheus.yml'}", f"--storage.tsdb.path={place / 'tsdb'}"]
    command += [f"--web.listen-address=127.0.0.1:{other}", "--log.level=error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        query = urllib.parse.urlencode({"query": "asana_backup_snapshot_number"})
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError, http.client.HTTPException):
                found = fetch(f"http://127.0.0.1:{other}/api/v1/query?{query}").json["data"]["result"]
                if found:
                    hold(found[0]["metric"]["organization"] == "acme", f"Prometheus has {found}")
                    return "a Prometheus scraped it"
            hold(time.monotonic() < until, "Prometheus scrapes nothing")
            time.sleep(0.2)
    finally:
        stop(process)


def rules():
    """The alerts are valid, and fire as their tests say."""
    if not shutil.which("promtool"):
        return "no promtool"
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml", "alerts.days.test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True)
        hold(done.returncode == 0, f"promtool {' '.join(command)} says {(done.stdout + done.stderr).decode()}")
    hours = {"m": 1 / 60, "h": 1, "d": 24}
    for window in re.findall(r"(?:\[\d+\w\])?(?: offset \d+\w)?", (DEPLOY / "prometheus" / "alerts.yaml").read_text()):
        back = sum(int(count) * hours[unit] for count, unit in re.findall(r"(\d+)(\w)", window))
        hold(back < KEPT * 24, f"{window} is more than the {KEPT} days that a Prometheus keeps by default")
    return "the alerts fire as promised"


def check():
    parser = argparse.ArgumentParser(description="Watches the program as an administrator would.")
    parser.add_argument("--rules", action="store_true", help="only the alerts")
    arguments = parser.parse_args()
    said = [rules()]
    if arguments.rules:
        return said[0]
    with folder() as place, simulator("tiny", token=TOKEN) as world:
        watched = Watched(world, place)
        file_and_push(watched)
        patiently(pings, watched)
        patiently(spans, watched)
        said.append(f"{logs(watched)} lines of log without a secret")
        said.append(journal(watched))
        said.append(f"nobody listens: {nobody_listens(watched):.1f} s longer")
        said.append(daemon(watched))
    return "; ".join(said)


if __name__ == "__main__":
    run_check(check)
