"""Tries the program on stores in earnest: locked, guarded, encrypted, behind proxies, misconfigured, and unfit.

    stores.py            every scenario
    stores.py NAME...    some of them

SeaweedFS is the store, moto plays AWS's services for credentials and answers about keys, and `rclone serve s3` is the store
that ignores conditions. Between them and the program stands a recorder, which passes on every request and keeps what
it asked for. MOTO names moto's server.
"""

import contextlib
import datetime
import email.utils
import functools
import http.client
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from xml.sax.saxutils import escape

import botocore.config
import botocore.exceptions
import botocore.session
import trustme

from world import HERE, PATIENCE, fetch, folder, free_ports, hold, run_check, seaweed, simulator, start_program, stop

SIZE = os.environ.get("STORES_SIZE", "tiny")
IAM = HERE.parent.parent / "deploy" / "iam"
CONFIG, UNAVAILABLE, UNFIT = 10, 13, 14
"""Exit codes."""
HINT = re.compile(r"/tables/[a-z_]+/metadata/version-hint\.text$")
ROLE = "arn:aws:iam::123456789012:role/backup"
KEYS = ("testkey", "testsecret123")


class Recorder:
    """A server that passes requests on to another, or to whom they name, and keeps what they asked for."""

    def __init__(self, upstream=None, certificate=None, date=0, forms=False):
        self.upstream, self.date, self.forms, self.requests = upstream, date, forms, []
        recorder = self

        class Passing(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def passed(self):
                recorder.passes(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = passed

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Passing)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"

    def passes(self, handler):
        """One request and its answer."""
        split = urllib.parse.urlsplit(handler.path if handler.path.startswith("http") else self.upstream)
        target = handler.path[handler.path.index(split.netloc) + len(split.netloc) :] if split.path else handler.path
        headers = dict(handler.headers.items())
        body = handler.rfile.read(int(headers.get("content-length", headers.get("Content-Length", 0))))
        if self.forms and not body and "?" in target:
            # What is not signed moto understands by its body alone; AWS takes the parameters from either place.
            target, query = target.split("?", 1)
            body = query.encode()
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
        request = {"method": handler.command, "path": target, "headers": {k.lower(): v for k, v in headers.items()}}
        self.requests.append(request)
        upstream = http.client.HTTPConnection(split.hostname, split.port, timeout=PATIENCE)
        try:
            upstream.putrequest(handler.command, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("connection", "proxy-connection", "transfer-encoding"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            content = answer.read()
            request["status"] = answer.status
            handler.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() == "date" and self.date:
                    told = email.utils.parsedate_to_datetime(value) + datetime.timedelta(seconds=self.date)
                    value = email.utils.format_datetime(told, usegmt=True)
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    handler.send_header(name, value)
            length = answer.headers.get("content-length") if handler.command == "HEAD" else str(len(content))
            if answer.status != 204 and length is not None:
                handler.send_header("Content-Length", length)
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            handler.close_connection = True
        finally:
            upstream.close()

    def puts(self):
        return [one for one in self.requests if one["method"] == "PUT" and "/backups/" in one["path"]]

    @contextlib.contextmanager
    def serving(self):
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()


def recorder(upstream=None, **more):
    """Records for as long as the block runs."""
    return Recorder(upstream, **more).serving()


class Own(Recorder):
    """A server of our own: `answers(request, body)` gives status, headers and body."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def passes(self, handler):
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        request = {"method": handler.command, "path": urllib.parse.unquote(handler.path), "headers": headers}
        self.requests.append(request)
        status, answer, content = self.answers(request, body)
        handler.send_response(status)
        for name, value in answer.items():
            handler.send_header(name, value)
        if "Content-Length" not in answer:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


@contextlib.contextmanager
def started(command, ready, environment=None):
    """A server, once `ready` answers without an OSError."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        until = time.monotonic() + PATIENCE
        while True:
            hold(process.poll() is None, f"{command[0]} ended at once with {process.returncode}")
            try:
                ready()
                break
            except OSError as refused:
                hold(time.monotonic() < until, f"{command[0]} does not answer: {refused}")
                wait(0.1)
        yield process
    finally:
        stop(process)


def wait(seconds):
    threading.Event().wait(seconds)


def beside(name):
    """A program that was installed beside Python."""
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    hold(found, f"{name} is not installed")
    return found


@contextlib.contextmanager
def moto():
    """The services of AWS, as far as moto plays them."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [os.environ.get("MOTO") or beside("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with started(command, lambda: fetch(f"{url}/moto-api/")):
        administrator(url).create_bucket(Bucket="backups")
        yield url


def administrator(endpoint, keys=KEYS, ca=None):
    """Somebody who may do everything, by another client than ours."""
    return botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        verify=ca,
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


class Place:
    """A repository of one organization, and how the program is set up for it."""

    def __init__(self, world, path, repository, store=None, environment=None, keys=KEYS, asana=None, asana_ca=None):
        self.path, self.repository = path, repository
        token, config = path / "token", path / "config.toml"
        token.write_text(world.token)
        lines = [
            "[organizations.acme]",
            f'gid = "{world.organization}"',
            f'token_file = "{token}"',
            f'repository = "{repository}"',
            f'base_url = "{asana or world.base_url}"',
            "[organizations.acme.filters]",
            'tables = ["projects", "tasks"]',
            "[organizations.acme.store]",
            *(f"{name} = {json.dumps(value)}" for name, value in (store or {}).items()),
            "[pace]",
            "requests_per_minute = 1000000",
            "searches_per_minute = 1000000",
            *(["[network]", f'ca_file = "{asana_ca}"'] if asana_ca else []),
        ]
        config.write_text("\n".join(lines) + "\n")
        secrets = {"AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1]} if keys else {}
        self.environment = {"ASANA_BACKUP_CONFIG": str(config), "HOME": str(path), **secrets, **(environment or {})}

    def runs(self, *arguments, code=0):
        """Runs the program, which must end with `code`; what it said."""
        process = start_program(list(arguments), self.environment)
        out, err = (stream.decode() for stream in process.communicate())
        command = " ".join(arguments)
        hold(process.returncode == code, f"`{command}` ends with {process.returncode}, not {code}:\n{out}{err}")
        for secret in KEYS[1:]:
            hold(secret not in out + err, f"`{command}` tells a secret:\n{out}{err}")
        return out + err

    def checks(self, code=0):
        """The lines of `check` about the store, by what they are about."""
        out = self.runs("check", "--output", "json", code=code)
        lines = [json.loads(line) for line in out.splitlines() if line.startswith('{"organization"')]
        for line in lines:
            hold(line["ok"] or line.get("remedy"), f"`check` knows no remedy: {line}")
        return {line["what"]: line for line in lines}


def there(store, region="us-east-1", **more):
    """Settings that reach a server on this machine."""
    return {"endpoint": store, "region": region, "path_style": True, "allow_http": True, **more}


def conditional(recorded):
    """Every put but those of hints asks for its condition, and says what it holds; nothing is deleted."""
    puts = recorded.puts()
    hold(len(puts) > 20, f"only {len(puts)} puts were seen")
    for put in puts:
        key = put["path"].split("?")[0]
        asked = put["headers"].get("if-none-match")
        hold(asked == ("*" if not HINT.search(key) else None), f"PUT {key} asks for If-None-Match: {asked}")
        hold("uploadId" not in put["path"], f"{key} is uploaded in parts, which no condition covers")
    deleted = [one["path"] for one in recorded.requests if one["method"] in ("DELETE", "POST")]
    hold(not deleted, f"something is deleted: {deleted}")
    return len(puts)


def policy(name, with_condition):
    """A shipped policy, for the bucket of the tests."""
    text = (IAM / name).read_text().replace("BUCKET", "backups").replace("PREFIX", "acme")
    statements = json.loads(text)
    if not with_condition:
        for statement in statements["Statement"]:
            statement.pop("Condition", None)
    return statements


def users(store, place, given):
    """Makes users of SeaweedFS, each with one policy."""
    lines = []
    for user, (key, secret), statements in given:
        file = place / f"{user}.json"
        file.write_text(json.dumps(statements))
        lines += [
            f"s3.user.create -name {user} -access_key {key} -secret_key {secret}",
            f"s3.policy -put -name {user} -file {file}",
            f"s3.policy.attach -user {user} -policy {user}",
        ]
    ran = subprocess.run(store.shell, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=PATIENCE)
    hold(ran.returncode == 0, f"weed shell: {ran.stdout}{ran.stderr}")


def known_to(endpoint, keys, bucket):
    """Waits until SeaweedFS knows a user, which takes it a moment."""
    client, until = administrator(endpoint, keys), time.monotonic() + PATIENCE
    while True:
        try:
            return client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        except botocore.exceptions.ClientError as refused:
            hold(time.monotonic() < until, f"{keys[0]} is not known: {refused}")
            wait(0.2)


def guarded(world, place):
    """A locked bucket, a writer that may delete nothing, a reader that may write nothing."""
    with seaweed(place) as store:
        admin = administrator(store.endpoint)
        admin.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
        configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        admin.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=configuration)
        writer, reader = ("writerkey", "writersecret123"), ("readerkey", "readersecret123")
        of = lambda name: json.loads(json.dumps(policy(name, False)).replace(":backups", ":locked"))  # noqa: E731
        users(store, place, [("writer", writer, of("writer.json")), ("reader", reader, of("reader.json"))])
        with recorder(store.endpoint) as seen:
            mine = Place(world, place, "s3://locked/acme", there(seen.url), keys=writer)
            known_to(seen.url, writer, "locked")
            found = mine.checks()
            hold("COMPLIANCE for 1 days" in found["object lock"]["says"], f"object lock: {found['object lock']}")
            hold(found["versioning"]["says"] == "on", f"versioning: {found['versioning']}")
            hold("refused" in found["deleting"]["says"], f"deleting: {found['deleting']}")
            hold("refused" in found["checksum"]["says"], f"checksum: {found['checksum']}")
            version = found["deleting a version"]
            hold("refused" in version["says"], f"deleting a version: {version}")
            seen.requests.clear()
            mine.runs("run")
            world.advance(20)
            mine.runs("run")
            puts = [one for one in seen.requests if one["method"] == "PUT"]
            for put in puts:
                put["path"] = put["path"].replace("/locked/", "/backups/")
            count = conditional(seen)
        theirs = Place(world, place, "s3://locked/acme", there(store.endpoint), keys=reader)
        theirs.runs("verify", "--deep")
        theirs.runs("run", code=CONFIG)
        keys = [one["Key"] for one in admin.list_objects_v2(Bucket="locked", Prefix="acme/tables/tasks/data/")["Contents"]]
        for who in (writer, reader):
            with contextlib.suppress(botocore.exceptions.ClientError):
                administrator(store.endpoint, who).delete_object(Bucket="locked", Key=keys[0])
                hold(False, f"{who[0]} deletes {keys[0]}")
        version = admin.list_object_versions(Bucket="locked", Prefix=keys[0])["Versions"][0]["VersionId"]
        with contextlib.suppress(botocore.exceptions.ClientError):
            admin.delete_object(Bucket="locked", Key=keys[0], VersionId=version)
            hold(False, f"the owner deletes a locked version of {keys[0]}")
        theirs.runs("verify", "--deep")
        admin.create_bucket(Bucket="kept")
        admin.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
        version = Place(world, place, "s3://kept/acme", there(store.endpoint)).checks()["deleting a version"]
        hold("allowed" in version["says"], f"deleting a version where nobody minds: {version}")
    return f"two runs, {count} puts with their condition, nothing deleted, nobody could; {len(keys)} parts locked"


def condition_key(world, place):
    """Whether SeaweedFS knows the condition key of the shipped policy; where it does, a run needs no more."""
    with seaweed(place) as store:
        writer = ("writerkey", "writersecret123")
        users(store, place, [("writer", writer, policy("writer.json", True))])
        client = administrator(store.endpoint, writer)
        known_to(store.endpoint, writer, "backups")
        try:
            client.put_object(Bucket="backups", Key="acme/a", Body=b"x", IfNoneMatch="*")
        except botocore.exceptions.ClientError as refused:
            said = str(refused).split(":")[0]
            return f"SeaweedFS does not know s3:if-none-match ({said}): the header was looked for instead"
        Place(world, place, "s3://backups/acme", there(store.endpoint), keys=writer).runs("run")
        with contextlib.suppress(botocore.exceptions.ClientError):
            client.put_object(Bucket="backups", Key="acme/a", Body=b"y")
            return "SeaweedFS allows what the condition denies: the header was looked for instead"
        return "SeaweedFS knows s3:if-none-match, and the shipped policy is enough"


@contextlib.contextmanager
def secured(place):
    """SeaweedFS over TLS, by an authority of one's own; the file of its certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    ca, cert, key = place / "ca.pem", place / "cert.pem", place / "key.pem"
    authority.cert_pem.write_to_path(ca)
    key.write_bytes(certificate.private_key_pem.bytes())
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))

    def ready(store):
        try:
            administrator(store.endpoint, ca=str(ca)).put_object(Bucket="backups", Key="ready", Body=b"yes")
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as refused:
            raise OSError(refused) from refused

    with seaweed(place, more=[f"-s3.cert.file={cert}", f"-s3.key.file={key}"], ready=ready) as store:
        yield store, ca


def own_authority(world, place):
    """TLS by an authority of one's own: refused without `ca_file`, and enough with it."""
    with secured(place) as (store, ca):
        settings = {"endpoint": store.endpoint, "region": "us-east-1"}
        trusting = Place(world, place, "s3://backups/acme", {**settings, "ca_file": str(ca)})
        trusting.runs("run")
        trusting.runs("verify")
        said = Place(world, place, "s3://backups/other", settings).checks(code=CONFIG)["reading back"]
        hold("certificate" in said["says"] and "ca_file" in said["remedy"], f"no word of certificates: {said}")
        missing = Place(world, place, "s3://backups/acme", {**settings, "ca_file": str(place / "none.pem")})
        hold("ca_file" in missing.runs("run", code=CONFIG), "a missing ca_file is not named")
    return "trusted by ca_file alone; without it 10, and why"


def asana_by_own_authority(world, place):
    """Asana behind a proxy that ends its TLS: refused without `[network] ca_file`, and enough with it."""
    ca, authority = place / "asana-ca.pem", trustme.CA()
    authority.cert_pem.write_to_path(ca)
    with recorder(world.root, certificate=authority.issue_cert("127.0.0.1")) as proxy:
        asana = world.base_url.replace(world.root, proxy.url)
        hold(asana.startswith("https://"), f"{asana} is not reached over TLS")
        mine = functools.partial(Place, world, place, str(place / "repository"), keys=None, asana=asana)
        said = mine().runs("check", code=UNAVAILABLE)
        hold("certificate" in said and "ca_file" in said, f"no word of certificates: {said}")
        hold(not proxy.requests, f"something was asked for all the same: {proxy.requests[:2]}")
        mine(asana_ca=ca).runs("run")
        mine(asana_ca=ca).runs("verify", "--deep")
        asked = [one["headers"].get("authorization") for one in proxy.requests]
        hold(asked and set(asked) == {f"Bearer {world.token}"}, "Asana was asked for nothing, or without the token")
    return f"{len(asked)} requests over TLS that ca_file trusts; without it none"


def misled(world, place):
    """Wrong secrets, wrong buckets, wrong clocks, no server: each with its code and a remedy."""
    with seaweed(place) as store:
        wrong = Place(world, place, "s3://backups/acme", there(store.endpoint), keys=("testkey", "canary"))
        hold("credentials" in wrong.checks(code=CONFIG)["reading back"]["remedy"], "no word of credentials")
        hold("canary" not in wrong.runs("run", code=CONFIG), "the secret is told")
        plain = Place(world, place, "s3://backups/acme", {"endpoint": store.endpoint, "region": "us-east-1"})
        hold("allow_http" in plain.runs("run", code=CONFIG), "no word of allow_http")
        with recorder(store.endpoint, date=3600) as late:
            skewed = Place(world, place, "s3://backups/skewed", there(late.url)).checks(code=CONFIG)
            says = skewed["store's clock"]["says"]
            # The answer is on its way for some of that hour.
            hold(3570 <= abs(int(re.search(r"is (-?\d+) s", says)[1])) <= 3600, f"the store's clock: {says}")
        with recorder() as proxy:
            through = there("http://127.0.0.1:" + store.endpoint.rsplit(":", 1)[1], proxy_url=proxy.url)
            Place(world, place, "s3://backups/proxied", through).runs("run")
            hold(len(proxy.puts()) > 20, "the proxy saw nothing")
        with recorder(store.endpoint) as seen:
            for checksum, header in [("crc64nvme", "x-amz-checksum-crc64nvme"), ("none", None)]:
                seen.requests.clear()
                chosen = Place(world, place, f"s3://backups/{checksum}", there(seen.url, checksum=checksum))
                chosen.runs("run")
                kinds = {name for put in seen.puts() for name in put["headers"] if name.startswith("x-amz-checksum")}
                hold(kinds == ({header} if header else set()), f"{checksum}: {kinds}")
    return "secret, http, clock: 10, each with its remedy; a proxy and both other checksums work"


def unfit(world, place):
    """A store that ignores conditions is refused by `check` and by the first run, unless told otherwise."""
    (port,) = free_ports(1)
    data = place / "rclone"
    (data / "backups").mkdir(parents=True)
    command = [beside("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", ",".join(KEYS)]
    command += ["--vfs-cache-mode", "writes", "--vfs-write-back", "0", "--cache-dir", str(place / "cache"), str(data)]
    url = f"http://127.0.0.1:{port}"
    with started(command, lambda: fetch(url), {"RCLONE_CONFIG": str(place / "rclone.conf")}):
        refused = Place(world, place, "s3://backups/acme", there(url))
        said = refused.checks(code=UNFIT)["conditional create"]
        hold(not said["ok"], f"check finds rclone fit: {said}")
        refused.runs("run", code=UNFIT)
        hold(not (data / "backups" / "acme" / "repository.json").exists(), "a repository was begun all the same")
        told = Place(world, place, "s3://backups/acme", there(url, allow_unfit=True))
        hold("ERROR" in told.runs("run").upper(), "nothing loud is said")
        told.runs("verify", "--deep")
        hold("allow_unfit" in told.checks()["conditional create"]["says"], "check does not say that it was told so")
    return "rclone serve s3: 14 by check and by the first run; with allow_unfit it runs, and says so"


def signers(seen):
    """Who signed the requests."""
    of = re.compile(r"Credential=([^/]+)/")
    return {of.search(one["headers"]["authorization"]).group(1) for one in seen.requests}


def given(world, place):
    """Credentials that are given: by a web identity, an instance, a container, and the kinds of profile."""
    authority = trustme.CA()
    ca, token = place / "ca.pem", place / "identity"
    authority.cert_pem.write_to_path(ca)
    token.write_text("canary.web.identity")
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"AccessKeyId": "ASIAPOD", "SecretAccessKey": "canary", "Token": "t", "Expiration": soon}

    def pod(request, _):
        known = request["headers"].get("authorization") == "canary.web.identity"
        return (200, {"Content-Type": "application/json"}, json.dumps(keys).encode()) if known else (403, {}, b"")

    with moto() as url, contextlib.ExitStack() as stack:
        seen = stack.enter_context(recorder(url))
        secured = authority.issue_cert("127.0.0.1")
        sts = stack.enter_context(recorder(url, certificate=secured, forms=True))
        pods = stack.enter_context(Own(pod).serving())
        machine = stack.enter_context(recorder(url))
        (place / ".aws").mkdir()
        process = f"echo '{json.dumps({'Version': 1, 'AccessKeyId': 'PROCESS', 'SecretAccessKey': 'canary'})}'"
        (place / "process.sh").write_text(process + "\n")
        (place / ".aws" / "config").write_text(
            f"[profile role]\nrole_arn = {ROLE}\nsource_profile = base\n"
            f"[profile process]\ncredential_process = sh {place / 'process.sh'}\n"
            "[profile person]\nsso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\n"
            "sso_account_id = 123456789012\nsso_role_name = backup\n"
        )
        (place / ".aws" / "credentials").write_text(
            "[base]\naws_access_key_id = BASE\naws_secret_access_key = canary\n"
        )
        secure = {"ca_file": str(ca)}
        service = {"AWS_ENDPOINT_URL_STS": sts.url}
        cases = [
            ("web identity", secure, {**service, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE}, "ASIA"),
            ("instance", {}, {"AWS_METADATA_ENDPOINT": machine.url}, "test-key"),
            (
                "pod",
                {},
                {"AWS_CONTAINER_CREDENTIALS_FULL_URI": pods.url, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)},
                "ASIAPOD",
            ),
            ("profile of keys", {"profile": "base"}, {}, "BASE"),
            ("profile of a role", {**secure, "profile": "role"}, service, "ASIA"),
            ("profile by variable", secure, {**service, "AWS_PROFILE": "role"}, "ASIA"),
            ("profile of a process", {"profile": "process"}, {}, "PROCESS"),
        ]
        Place(world, place, "s3://backups/acme", there(url)).runs("run")
        for name, store, environment, signer in cases:
            seen.requests.clear()
            mine = Place(world, place, "s3://backups/acme", there(seen.url, **store), environment, None)
            said = mine.runs("snapshots")
            hold("canary" not in said, f"{name}: a secret is told:\n{said}")
            found = signers(seen)
            hold(len(found) == 1 and found.pop().startswith(signer), f"{name}: signed by {signers(seen)}")
        hold(sts.requests, "the token service was not asked")
        asked = [one for one in machine.requests if "/meta-data/" in one["path"]]
        sessions = {one["headers"].get("x-aws-ec2-metadata-token") for one in asked}
        hold(asked and None not in sessions, "the instance was asked without a session (IMDSv2)")
        for name, store, environment in [
            ("no profile", {"profile": "missing"}, {}),
            ("a person's profile", {"profile": "person"}, {}),
            ("no token", secure, {**service, "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such", "AWS_ROLE_ARN": ROLE}),
        ]:
            mine = Place(world, place, "s3://backups/acme", there(seen.url, **store), environment, None)
            hold("remedy" in mine.runs("snapshots", code=CONFIG), f"{name}: no remedy")
    return f"{', '.join(name for name, *_ in cases)}: each signed its own requests; three that give none end with 10"


def nobody(world, place):
    """Nobody gives credentials: said within half a minute, with the variables that this kind of store knows."""
    (port,) = free_ports(1)
    closed = {"AWS_METADATA_ENDPOINT": f"http://127.0.0.1:{port}"}
    store, slowest = there(f"http://127.0.0.1:{port}"), 0.0

    def told(repository, settings, *words):
        nonlocal slowest
        began = time.monotonic()
        said = Place(world, place, repository, settings, closed, None).runs("snapshots", code=CONFIG)
        slowest = max(slowest, time.monotonic() - began)
        hold(all(word in said for word in words), f"{repository}: no word of {words}:\n{said}")

    told("s3://backups/acme", store, "AWS_ACCESS_KEY_ID", f"127.0.0.1:{port}")
    told("gs://backups/acme", {}, "GOOGLE_APPLICATION_CREDENTIALS")
    (place / ".aws").mkdir()
    (place / ".aws" / "credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = canary\n")
    told("s3://backups/acme", store, "AWS_PROFILE=default")
    hold(slowest < 40, f"it takes {slowest:.0f} s to say that nobody gives credentials")
    return f"10 within {slowest:.0f} s, with the variables of S3, of Google, and of profiles where there are some"


def elsewhere(world, place):
    """A store that redirects: refused with a word of region and endpoint, and whoever it points to hears nothing."""
    with Own(lambda *_: (200, {}, b"")).serving() as stranger:
        place_of = {"Location": f"{stranger.url}/backups/acme"}
        with Own(lambda *_: (307, place_of, b"")).serving() as store:
            environment = {"AWS_SESSION_TOKEN": "canary"}
            mine = Place(world, place, "s3://backups/acme", there(store.url), environment)
            said = mine.runs("run", code=CONFIG)
            hold("region" in said and "endpoint" in said, f"no word of region and endpoint:\n{said}")
            hold(store.requests, "the store was not asked")
        hold(not stranger.requests, f"a stranger was asked: {stranger.requests}")
    return "10, with a word of region and endpoint; the session's token went to the store alone"


def encrypted(world, place):
    """Keys and classes: each object as the settings say, parts in their class and nothing else."""
    with moto() as url:
        client = administrator(url)
        key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        kms = there(url, sse="kms", kms_key_id=key, bucket_key=True, storage_class="STANDARD_IA")
        Place(world, place, "s3://backups/kms", kms).runs("run")
        Place(world, place, "s3://backups/s3", there(url, sse="s3")).runs("run")
        counted = {}
        for listed in client.get_paginator("list_objects_v2").paginate(Bucket="backups"):
            for one in listed["Contents"]:
                head = client.head_object(Bucket="backups", Key=one["Key"])
                by, prefix = head["ServerSideEncryption"], one["Key"].split("/")[0]
                hold(by == {"kms": "aws:kms", "s3": "AES256"}[prefix], f"{one['Key']} is encrypted by {by}")
                if prefix == "kms":
                    hold(head["SSEKMSKeyId"] == key and head["BucketKeyEnabled"], f"{one['Key']}: {head}")
                    part, kept = one["Key"].endswith(".parquet"), head.get("StorageClass", "STANDARD")
                    hold(kept == ("STANDARD_IA" if part else "STANDARD"), f"{one['Key']} is in {kept}")
                    counted[kept] = counted.get(kept, 0) + 1
        nowhere = Place(world, place, "s3://no-such-bucket/acme", there(url))
        said = nowhere.checks(code=CONFIG)["reading back"]
        hold("bucket" in said["remedy"], f"no word of the bucket: {said}")
        glacier = Place(world, place, "s3://backups/cold", there(url, storage_class="GLACIER"))
        hold("GLACIER" in glacier.runs("run", code=CONFIG), "an archive is not refused by name")
    return f"SSE-S3, SSE-KMS with a bucket key; {counted} objects by class; GLACIER, and a bucket that is not there: 10"


def google(world, place):
    """`gs://`: Google's protocol, as far as a repository needs it, and its name for the condition."""
    objects, lock = {}, threading.Lock()

    def answers(request, body):
        split = urllib.parse.urlsplit(request["path"])
        key, query = split.path.removeprefix("/backups/"), urllib.parse.parse_qs(split.query)
        stamp = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"1"', "x-goog-generation": "1"}
        with lock:
            if request["method"] == "PUT":
                if request["headers"].get("x-goog-if-generation-match") == "0" and key in objects:
                    return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
                objects[key] = body
                return 200, stamp, b""
            if request["method"] == "DELETE":
                return (204, {"Content-Length": "0"}, b"") if objects.pop(key, None) is not None else (404, {}, b"")
            if "list-type" in query:
                prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
                shown = sorted(name for name in objects if name.startswith(prefix))
                if delimiter:
                    shown = [name for name in shown if delimiter not in name[len(prefix) :]]
                found = "".join(
                    f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f'<ETag>"1"</ETag><Size>{len(objects[name])}</Size></Contents>'
                    for name in shown
                )
                return 200, {}, f"<ListBucketResult>{found}</ListBucketResult>".encode()
            if key not in objects:
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
            content = objects[key]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request["headers"].get("range", ""))
        if wanted:
            start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(content))
            stamp["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            return 206, stamp, content[start:end]
        return 200, {**stamp, "Content-Length": str(len(content))}, content

    with Own(answers).serving() as server:
        environment = {"GOOGLE_BEARER_TOKEN": "canary"}
        settings = {"endpoint": server.url, "allow_http": True, "storage_class": "NEARLINE"}
        mine = Place(world, place, "gs://backups/acme", settings, environment, None)
        found = mine.checks()
        hold(found["races"]["ok"] and "versioning" not in found, f"{found}")
        server.requests.clear()
        hold("canary" not in mine.runs("run"), "the token is told")
        for put in server.puts():
            asked = put["headers"].get("x-goog-if-generation-match")
            hold(asked == (None if HINT.search(put["path"]) else "0"), f"PUT {put['path']} asks for {asked}")
            kept = put["headers"].get("x-goog-storage-class")
            hold(kept == ("NEARLINE" if put["path"].endswith(".parquet") else None), f"{put['path']} is in {kept}")
        mine.runs("verify", "--deep")
    return f"{len(server.puts())} puts with their condition, by a server of our own: no other plays Google's"


SCENARIOS = [
    guarded,
    condition_key,
    own_authority,
    asana_by_own_authority,
    misled,
    unfit,
    given,
    nobody,
    elsewhere,
    encrypted,
    google,
]


def scenario(play):
    with folder() as place, simulator(SIZE) as world:
        return f"{play.__name__.replace('_', ' ')}: {play(world, place)}"


if __name__ == "__main__":
    known = {play.__name__: play for play in SCENARIOS}
    for name in sys.argv[1:] or known:
        run_check(functools.partial(scenario, known[name]))
