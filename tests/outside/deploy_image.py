"""The image is built by the shipped Dockerfile, and the shipped CronJob's pod backs up a simulated Asana in it.

    PROGRAM=target/debug/asana-backup python3 tests/outside/deploy_image.py

No registry is asked. Both bases are made here, of this machine's own libraries: one with nothing but what the program is
linked to, and one whose `cargo` hands over the program that is there already, having seen the sources and the flags. What
is really tried is all else: the stages, what is copied, that a second build gives the same digest, the user, the entry point,
the pod as kustomize renders it.
Needs root, buildah, podman, runc and catatonit. Images live below a temporary folder, and go with it.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from deploy import KUBERNETES, ROOT, holder, kustomize, pod_template, said
from world import PATIENCE, folder, hold, program, run_check, run_program, simulator

IMAGE = "localhost/asana-backup:test"
UID = 65532
CARGO = """#!/bin/sh
set -eu
[ "$*" = "build --release --locked --no-default-features --bin asana-backup" ] || { echo "cargo $*"; exit 1; }
[ "$PWD" = /src ] && [ -f src/main.rs ] && [ -f Cargo.lock ] && [ -f tests/simulator/Cargo.toml ]
[ ! -e target ] && [ ! -e .git ]
[ "${SOURCE_DATE_EPOCH:-}" = 1 ]
mkdir -p target/release
cp /prebuilt/asana-backup target/release/asana-backup
"""


def libraries(binaries):
    """The files that binaries are linked to at run time."""
    found = set()
    for binary in binaries:
        text, code = said(["ldd", binary])
        hold(code == 0, f"ldd {binary}: {text}")
        found |= {word for line in text.splitlines() for word in line.split() if word.startswith("/")}
    return found


def add(archive, name, source=None, text=None, mode=0o755):
    """Adds one file to an archive, owned by root."""
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.mode = mode
    content = text.encode() if text is not None else Path(source).read_bytes()
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


class Containers:
    """buildah and podman, with their storage in a folder of ours."""

    def __init__(self, place):
        self.place = place
        (place / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n[engine]\ncgroup_manager = "cgroupfs"\n'
            'events_logger = "file"\n'
        )
        (place / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (place / "registries.conf").write_text("unqualified-search-registries = []\n")
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(place / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(place / "registries.conf"),
            "TMPDIR": str(place),
        }

    def __call__(self, tool, *arguments, codes=(0,)):
        runtime = ["--runtime", "runc"] if tool == "podman" else []
        where = ["--root", self.place / "storage", "--runroot", self.place / "run", "--storage-driver", "vfs"]
        command = [str(word) for word in (tool, *where, *runtime, *arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=2 * PATIENCE)
        hold(ran.returncode in codes, f"{' '.join(command)} ends with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
        # `logs` gives back each stream of the pod as its own.
        return (ran.stdout + (ran.stderr if "logs" in arguments else "")).strip()

    def base(self, name, files, texts):
        """Makes a base image of this machine's own files."""
        path = self.place / f"{name}.tar"
        with tarfile.open(path, "w") as archive:
            for target, source in sorted(files.items()):
                add(archive, target, source)
            for target, text in sorted(texts.items()):
                add(archive, target, text=text)
        work = self("buildah", "from", "scratch")
        self("buildah", "add", work, path, "/")
        self("buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", work)
        self("buildah", "commit", "--quiet", work, f"localhost/{name}")
        self("buildah", "rm", work)
        return f"localhost/{name}"


def another_place(to):
    """The sources as somebody else has them: elsewhere, of another time, and read by nobody but their owner."""
    ignored = (ROOT / "deploy/docker/Dockerfile.dockerignore").read_text()
    to.mkdir()
    for name in re.findall("^!(.*)$", ignored, re.MULTILINE):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, to / name)
    (to / "LICENSE").chmod(0o600)
    os.utime(to / "LICENSE", (0, 0))
    return to


def build(containers, place):
    """Builds the image by the Dockerfile, twice."""
    stripped = place / "asana-backup"
    # A debug build is large, and storage without layers copies it often.
    if not shutil.which("strip") or said(["strip", "-o", stripped, program()])[1] != 0:
        shutil.copy(program(), stripped)
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    files = {name: name for name in libraries([program()])}
    if Path(certificates).exists():
        files[certificates] = certificates
    people = {"/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\n", "/etc/group": "root:x:0:\n"}
    base = containers.base("base", files, people)
    tools = ["/bin/sh", "/bin/cp", "/bin/mkdir"]
    more = {name: name for name in [*tools, *libraries(tools)]}
    more["/prebuilt/asana-backup"] = stripped
    rust = containers.base("rust", more, {**people, "/usr/local/bin/cargo": CARGO})
    digests = set()
    for sources in (another_place(place / "sources"), ROOT):
        containers(
            *("buildah", "build", "--quiet", "--isolation", "chroot", "--pull-never", "--layers=false", "--timestamp", "1"),
            *("--build-arg", f"RUST={rust}", "--build-arg", f"BASE={base}", "--build-arg", "SOURCE_DATE_EPOCH=1"),
            *("--ignorefile", ROOT / "deploy/docker/Dockerfile.dockerignore"),
            *("-f", ROOT / "deploy/docker/Dockerfile", "-t", IMAGE, sources),
        )
        digests.add(json.loads(containers("podman", "image", "inspect", IMAGE))[0]["Digest"])
    hold(len(digests) == 1, f"the same sources give the images {sorted(digests)}")
    image = json.loads(containers("podman", "image", "inspect", IMAGE))[0]["Config"]
    hold(image["User"] == f"{UID}:{UID}", f"the image runs as {image['User']}")
    hold(image["Entrypoint"] == ["/usr/bin/asana-backup"], f"its entry point is {image['Entrypoint']}")
    hold(image["Cmd"] == ["daemon"], f"by itself it does {image['Cmd']}")
    return set(files) | set(people)


def pod(world, repository, secrets):
    """The CronJob's pod, as kustomize renders it, with this world's settings; and what it reads."""
    cronjobs = [one for one in kustomize(KUBERNETES / "cronjob") if one["kind"] == "CronJob"]
    cronjob = next(one for one in cronjobs if one["metadata"]["name"] == "asana-backup")
    spec = pod_template(cronjob)["spec"]
    container = spec["containers"][0]
    hold(container["image"].startswith("ghcr.io/asana-backup/asana-backup:"), f"the pod runs {container['image']}")
    # Our image, the network of this machine, where the simulated Asana listens, and a folder in place of a bucket.
    container |= {"image": IMAGE, "imagePullPolicy": "Never"}
    spec["hostNetwork"] = True
    # Podman 4 puts no variables into variables.
    named = holder(cronjob, "asana-backup-1", "a-uid", "asana-backup-1-x")
    next(one for one in container["env"] if one["name"] == "ASANA_BACKUP_HOLDER")["value"] = named
    container["env"] = [one for one in container["env"] if "value" in one]
    # These are the cluster's, or too large for a test.
    spec.pop("serviceAccountName")
    spec["volumes"].append({"name": "repository", "hostPath": {"path": str(repository), "type": "Directory"}})
    container["volumeMounts"].append({"name": "repository", "mountPath": "/repository"})
    container["resources"].pop("requests")
    config = (KUBERNETES / "base" / "config.toml").read_text()
    for ours, theirs in (
        ('gid = "1200000000000001"', f'gid = "{world.organization}"\nbase_url = "{world.base_url}"'),
        ("s3://acme-asana-backup/asana", "/repository"),
    ):
        hold(config.count(ours) == 1, f"config.toml does not say {ours} once")
        config = config.replace(ours, theirs)
    # Podman 4 hands secrets over as base64; so the same files, with the mode that Kubernetes gives them, from a folder.
    secret = next(volume for volume in spec["volumes"] if "secret" in volume)
    mode = secret.pop("secret")["defaultMode"]
    secret["hostPath"] = {"path": str(secrets), "type": "Directory"}
    for name, text in {"acme": world.token, "status": "words"}.items():
        path = secrets / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, 0, spec["securityContext"]["fsGroup"])
    claimed = next(volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume)
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": claimed}, "data": {"config.toml": config}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asana-backup"}, "spec": spec},
    ]


@contextlib.contextmanager
def played(containers, place, all_documents):
    """The pod, for as long as the block runs."""
    import yaml

    path = place / "pod.yaml"
    path.write_text(yaml.safe_dump_all(all_documents))
    try:
        containers("podman", "play", "kube", path)
        yield "asana-backup-asana-backup"
    finally:
        containers("podman", "play", "kube", "--down", path, codes=(0, 1, 125))


def check():
    with folder() as place, simulator("tiny") as world:
        containers = Containers(place)
        expected = build(containers, place)
        version = containers("podman", "run", "--rm", "--network", "none", "--read-only", IMAGE, "--version")
        hold(version.startswith("asana-backup "), f"the image says {version}")
        mounted = containers("podman", "image", "mount", IMAGE)
        there = {f"/{path.relative_to(mounted)}" for path in Path(mounted).rglob("*") if path.is_file()}
        added = there - expected
        ours = {"/usr/bin/asana-backup", "/usr/share/doc/asana-backup/LICENSE"}
        hold(added == ours, f"the image has {sorted(added)} beside its base")
        containers("podman", "image", "umount", IMAGE)
        repository, secrets = place / "repository", place / "secrets"
        repository.mkdir()
        secrets.mkdir()
        os.chown(repository, UID, UID)
        place.chmod(0o755)
        with played(containers, place, pod(world, repository, secrets)) as name:
            code = containers("podman", "wait", name)
            logs = containers("podman", "logs", name)
            hold(code == "0", f"the pod ends with {code}:\n{logs}")
            state = json.loads(containers("podman", "inspect", name))[0]
            host = state["HostConfig"]
            hold(host["ReadonlyRootfs"], "the pod may write to its root")
            hold(not state["EffectiveCaps"], f"the pod has {state['EffectiveCaps']}")
            hold(state["Config"]["User"] == f"{UID}:{UID}", f"the pod is {state['Config']['User']}")
        lines = run_program(["snapshots", "--repository", str(repository), "--output", "json"], {"HOME": str(place)})
        snapshots = [json.loads(line) for line in lines.splitlines()]
        hold(len(snapshots) == 1 and snapshots[0]["complete"], f"the pod left these snapshots: {snapshots}")
        claim = json.loads((repository / "runs" / f"{0:020}" / "1.json").read_text())
        hold(claim["holder"] == "asana-backup-1/a-uid", f"the pod claims as {claim['holder']}")
        rows = sum(table["counts"]["rows"] for table in snapshots[0]["tables"].values())
    return f"the image, twice the same, has {len(ours)} files of ours; the CronJob's pod backed up {rows} rows as user {UID}"


if __name__ == "__main__":
    run_check(check)
