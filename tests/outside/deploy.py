"""What is shipped for systemd and Kubernetes holds what it says, as the tools of those who run it see it.

    PROGRAM=target/debug/asana-backup python3 tests/outside/deploy.py units
    PROGRAM=target/debug/asana-backup python3 tests/outside/deploy.py manifests

`units`: systemd finds nothing to say about the units, rates their sandbox at most 1.2, and gives to root what it reads
itself and nothing else. `manifests`: kustomize renders every overlay, every document is valid, every pod keeps to the
restricted profile and is told something that the program understands; the Helm chart renders the same documents.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from world import HERE, folder, hold, program, run_check

ROOT = HERE.parent.parent
SYSTEMD = ROOT / "deploy" / "systemd"
KUBERNETES = ROOT / "deploy" / "kubernetes"
RUNBOOK = ROOT / "docs" / "operations.md"
CHART = ROOT / "deploy" / "helm" / "asana-backup"
EXPOSURE = 12
"""In tenths, as `--threshold` takes it."""
PATIENCE = 300
OWN_IMAGE = "registry.example.com/asana-backup"
LENDERS = {"169.254": [80, 8080], "170.23": [80], "169.252": [987, 988]}
"""Who lends a pod its role, below 169.254: instances and GKE's Dataplane V2, EKS pod identities, GKE's other networks."""


def said(command, **more):
    """What a command prints, on both streams, and its exit code."""
    ran = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, **more
    )
    return ran.stdout, ran.returncode


def units():
    """The units, under systemd's own eyes."""
    services = ["asana-backup.service", "asana-backup-run@.service", "asana-backup-verify@.service"]
    sandboxes = {read_unit(name).split("# The sandbox")[1].split("[Install]")[0].strip() for name in services}
    hold(len(sandboxes) == 1, f"the sandboxes of {' and '.join(services)} differ")
    with folder() as place:
        for path in SYSTEMD.glob("*.*"):
            if path.suffix in (".service", ".timer"):
                # The program is not installed here; and a template is looked at by way of an instance.
                text = path.read_text().replace("/usr/bin/asana-backup", program())
                (place / path.name.replace("@.", "@acme.")).write_text(text)
                (place / path.name).write_text(text)
        looked_at = sorted(path for path in place.iterdir() if "@." not in path.name)
        hold(len(looked_at) == 5, f"there are three services and two timers, not {looked_at}")
        text, code = said(["systemd-analyze", "verify", "--man=no", *looked_at])
        # It ends with 0 also where it knows a key not: what it prints is what counts.
        hold((text.strip(), code) == ("", 0), f"systemd-analyze verify has something to say:\n{text}")
        as_the_units()
        scores = []
        for path in looked_at:
            if path.suffix == ".service":
                text, code = said(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", path])
                hold(code == 0, f"{path.name} is more exposed than {EXPOSURE / 10}:\n{text}")
                scores.append(re.search(r"exposure level for \S+: ([\d.]+)", text)[1])
        for name in ("token-file.conf", "addresses.conf", "tokens.conf"):
            at = place / "asana-backup.service.d"
            at.mkdir(exist_ok=True)
            (at / name).write_text((SYSTEMD / "examples" / name).read_text())
            text, code = said(["systemd-analyze", "verify", "--man=no", place / "asana-backup.service"])
            hold((text.strip(), code) == ("", 0), f"examples/{name}: {text}")
        # Both write below a root of ours, and say what they would not.
        (place / "root" / "etc").mkdir(parents=True)
        user, code = said(["systemd-sysusers", f"--root={place}/root", SYSTEMD / "asana-backup.sysusers"])
        hold(code == 0 and "asana-backup:" in (place / "root/etc/passwd").read_text(), f"sysusers: {user}")
        secrets, own = ([place / "root" / path[1:] for path in paths] for paths in readers())
        (place / "root/etc/asana-backup").mkdir()
        for path in [*secrets, *own]:
            path.touch()
            path.chmod(0o644 if path in secrets else 0o640)
        text, code = said(["systemd-tmpfiles", f"--root={place}/root", "--create", SYSTEMD / "asana-backup.tmpfiles"])
        hold(code == 0, f"tmpfiles: {text}")
        mode = (place / "root/etc/asana-backup").stat().st_mode & 0o777
        hold(mode == 0o750, f"/etc/asana-backup gets the mode {mode:o}")
        for path in secrets:
            hold(path.stat().st_mode & 0o777 == 0o600, f"{path.name} can be read by others")
        for path in own:
            hold(path.stat().st_mode & 0o777 == 0o640, f"{path.name} is taken from the program's user, who has to read it")
    return f"systemd has nothing to say, and rates the services {' and '.join(scores)}"


def read_unit(name):
    return (SYSTEMD / name).read_text()


def readers():
    """The files of /etc/asana-backup that systemd reads as root, by the units and the examples, and those that the program
    reads as its own user, by the examples and the settings."""
    shipped = [*SYSTEMD.glob("*.service"), *(SYSTEMD / "examples").glob("*.conf")]
    shipped += [ROOT / "config" / "example.toml", ROOT / "deploy" / "debian" / "config.toml"]
    secrets, own = set(), {"/etc/asana-backup/config.toml"}
    for line in "\n".join(path.read_text() for path in shipped).splitlines():
        by_root = re.search(r"\b(?:LoadCredential=[^:]+:|EnvironmentFile=-?)(/etc/asana-backup/\S+)", line)
        if by_root:
            secrets.add(by_root[1].replace("%i", "acme"))
        else:
            own |= set(re.findall(r"""[="'](/etc/asana-backup/[^\s"']+)""", line))
    both = secrets & own
    hold(not both, f"{sorted(both)} is root's, and the program is told to read it")
    hold({"/etc/asana-backup/token", "/etc/asana-backup/environment"} <= secrets, f"systemd reads {sorted(secrets)} alone")
    hold(len(own) > 5, f"the program reads {sorted(own)} alone")
    return sorted(secrets), sorted(own)


def by_hand(world):
    """What the runbook says to run by hand in a world: `systemd`, `Kubernetes, CronJobs`."""
    section = RUNBOOK.read_text().split("\n## Running a command by hand\n")[1].split("\n## ")[0]
    commands = section.split(f"**{world}.**")[1].split("\n**")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", commands, re.MULTILINE | re.DOTALL)
    hold(blocks, f"by hand, {world}: there is no command")
    return "".join(blocks)


def played(world, tool, body):
    """What the commands by hand print with a function in place of a tool."""
    text, code = said(["bash", "-euo", "pipefail", "-c", f"{tool}() {{ {body}; }}\n{by_hand(world)}"])
    hold(code == 0, f"by hand, {world}: {text}")
    return text


def as_the_units():
    """Holds a command by hand to all that the units give the program but for their sandbox."""
    words = played("systemd", "systemd-run", 'printf "%s\\n" "$@"').splitlines()
    given = {words[place + 1] for place, word in enumerate(words) if word == "-p"}
    # How a unit begins and ends is its own.
    own = r"Type|Exec\w+|NotifyAccess|SuccessExitStatus|Restart\w*|Timeout\w+|WatchdogSec"
    text = read_unit("asana-backup.service").split("[Service]\n")[1].split("# The sandbox")[0]
    lines = [line for line in text.splitlines() if re.match(r"[A-Z]", line) and not re.match(rf"({own})=", line)]
    wanted = {line.replace("%C", "/var/cache") for line in lines} | {"UMask=0077"}
    hold(given == wanted, f"by hand: {sorted(given ^ wanted)} is not as in the unit")
    token, of_run = ("LoadCredential=asana-token:/etc/asana-backup/" + name for name in ("token", "%i.token"))
    run = read_unit("asana-backup-run@.service")
    lines = {of_run if line == token else line for line in [*lines, "UMask=0077"]}
    hold(lines <= set(run.splitlines()), f"asana-backup-run@ lacks {sorted(lines - set(run.splitlines()))}")
    unit = next(word.partition("=")[2] for word in words if word.startswith("--unit="))
    hold(f"/run/credentials/{unit}.service/asana-token" in RUNBOOK.read_text(), f"by hand: the token of {unit} is elsewhere")


def documents(text):
    import yaml

    return [one for one in yaml.safe_load_all(text) if one]


def kustomize(path):
    """What kustomize makes of an overlay."""
    text, code = said(["kubectl", "kustomize", path])
    hold(code == 0, f"kubectl kustomize {path}: {text}")
    return documents(text)


def with_monitor(place):
    """The daemon as somebody's own overlay that adds the PodMonitor."""
    import yaml

    overlay = {
        "resources": [os.path.relpath(KUBERNETES / "daemon", place)],
        "components": [os.path.relpath(KUBERNETES / "podmonitor", place)],
    }
    (place / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return kustomize(place)


def pod_template(document):
    """The pod of a workload, or nothing."""
    spec = document.get("spec", {})
    spec = spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec
    return spec.get("template")


def valid(name, all_documents, place):
    """Holds every document of a kind that Kubernetes itself has to its schemas."""
    import yaml

    own = [one for one in all_documents if one["kind"] != "PodMonitor"]
    path = place / f"{name}.yaml"
    path.write_text(yaml.safe_dump_all(own))
    for more in ([], ["-k", "1.33"]):
        text, code = said(["kubernetes-validate", "--strict", *more, path])
        hold(code == 0, f"{name}: {text}")


def monitored(all_documents):
    """Holds a PodMonitor, whose schema is its operator's, to the fields that we use of it, and to the daemon that it is for."""
    (monitor,), (daemon,) = ([one for one in all_documents if one["kind"] == kind] for kind in ("PodMonitor", "Deployment"))
    name, spec, template = monitor["metadata"]["name"], monitor["spec"], pod_template(daemon)
    hold(monitor["apiVersion"] == "monitoring.coreos.com/v1", f"{name} is of {monitor['apiVersion']}")
    hold(set(spec) == {"selector", "podMetricsEndpoints"} and set(spec["selector"]) == {"matchLabels"}, f"{name} says {spec}")
    labels = spec["selector"]["matchLabels"].items()
    hold(labels and labels <= template["metadata"]["labels"].items(), f"{name} looks for {labels}")
    (settings,) = (one["data"]["config.toml"] for one in all_documents if one["kind"] == "ConfigMap")
    token = re.search(r'^token_file = "(.*)"$', settings.partition("[status]")[2], re.MULTILINE)[1]
    (secret,) = (volume["secret"]["secretName"] for volume in template["spec"]["volumes"] if "secret" in volume)
    (endpoint,) = spec["podMetricsEndpoints"]
    hold(re.fullmatch(r"\d+s", endpoint.get("interval", "")), f"{name} has no interval")
    bearer = {"credentials": {"name": secret, "key": Path(token).name}}
    port = template["spec"]["containers"][0]["ports"][0]["name"]
    wanted = {"port": port, "path": "/metrics", "interval": endpoint["interval"], "authorization": bearer}
    hold(endpoint == wanted, f"{name} asks {endpoint}, and there is {wanted}")


def together(all_documents):
    """Holds pods to name what is there beside them, and the NetworkPolicy to know them."""
    there = {(one["kind"], one["metadata"]["name"]) for one in all_documents}
    (policy,) = (one for one in all_documents if one["kind"] == "NetworkPolicy")
    for one in filter(pod_template, all_documents):
        name, pod = one["metadata"]["name"], pod_template(one)
        named = {("ConfigMap", volume["configMap"]["name"]) for volume in pod["spec"]["volumes"] if "configMap" in volume}
        named |= {("ServiceAccount", pod["spec"]["serviceAccountName"])}
        hold(named <= there, f"{name} wants {sorted(named - there)}")
        known = policy["spec"]["podSelector"]["matchLabels"].items()
        hold(known <= pod["metadata"]["labels"].items(), f"the NetworkPolicy does not know {name}")


def second_release(place):
    """Holds the chart under another name, with what is the cluster's own, to what is asked of the first."""
    own = {"envFrom": [{"secretRef": {"name": "store"}}], "imagePullSecrets": [{"name": "registry"}]}
    own |= {"image": {"repository": OWN_IMAGE, "tag": "1"}, "serviceAccount": {"annotations": None}}
    for mode in ("cronjob", "daemon", "indexed"):
        values = {**own, "mode": mode, "backfill": {"enabled": True}, "podMonitor": {"enabled": True}}
        made = helm(values, "nightly")
        valid(f"nightly-{mode}", made, place)
        together(made)
        for one in made:
            name = one["metadata"]["name"]
            hold(name.partition("-")[0] == "nightly", f"the release nightly has {one['kind']} {name}")
            hold("annotations" not in one["metadata"], f"{name} has {one['metadata'].get('annotations')}")
            if pod_template(one):
                pod = pod_template(one)["spec"]
                restricted(name, pod)
                (container,) = pod["containers"]
                hold(pod.get("imagePullSecrets") == own["imagePullSecrets"], f"{name} has no imagePullSecrets")
                hold(container.get("envFrom") == own["envFrom"], f"{name} has no envFrom")
                hold(container["image"] == f"{OWN_IMAGE}:1", f"{name} runs {container['image']}")
        if mode == "daemon":
            monitored(made)


def as_told():
    """Holds what deploy/README.md says to `helm` to be understood: the schema refuses every other key."""
    import helm_python

    told = (ROOT / "deploy" / "README.md").read_text()
    expressions = re.findall(r"""--set(?:-string)? (?:'([^'\n]+)'|([^'\s`]+))""", told)
    hold(len(expressions) > 5, f"deploy/README.md says {expressions} alone")
    for expression in map("".join, expressions):
        try:
            helm({"mode": "daemon", **helm_python.parse_set_string(expression)})
        except helm_python.HelmError as error:
            hold(False, f"deploy/README.md says --set {expression}: {error}")


def restricted(name, pod):
    """Holds a pod to the restricted profile of the pod security standards, and to what we promise beyond."""
    security = pod["securityContext"]
    hold(security["runAsNonRoot"] and security["runAsUser"] > 0, f"{name} may be root")
    hold(security["seccompProfile"]["type"] == "RuntimeDefault", f"{name} has no seccomp profile")
    hold(pod["automountServiceAccountToken"] is False, f"{name} has a token of the cluster")
    hold(not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{name} shares the host's name spaces")
    hold(all(set(volume) <= {"name", "configMap", "secret", "emptyDir"} for volume in pod["volumes"]), f"{name}'s volumes")
    hold(pod["terminationGracePeriodSeconds"] > 5, f"{name} is killed before a run has laid down its work")
    for container in pod["containers"]:
        own = container["securityContext"]
        hold(own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}, f"{name} has rights")
        hold(own["readOnlyRootFilesystem"] is True, f"{name} may write to its root")
        hold(container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"], f"{name}'s limits")
        spool = next(one["value"] for one in container["env"] if one["name"] == "TMPDIR")
        hold(any(mount["mountPath"] == spool for mount in container["volumeMounts"]), f"{name} has no {spool}")
        hold(not any("subPath" in mount for mount in container["volumeMounts"]), f"{name} would not notice a new token")
        told = [word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in container["args"]]
        text, code = said([program(), *told, "--help"])
        hold(code == 0, f"{name} says `{' '.join(told)}`, which the program does not understand:\n{text}")


def as_shipped(example, shipped):
    """Holds the example of an overlay to change what it is there for, and nothing else."""
    settings = (KUBERNETES / "example" / "config.toml").read_text()
    images = {pod_template(one)["spec"]["containers"][0]["image"] for one in example if pod_template(one)}
    hold(len(images) == 1 and min(images).startswith(OWN_IMAGE), f"the example runs {images}")
    example = json.loads(json.dumps(example).replace(OWN_IMAGE, "ghcr.io/asana-backup/asana-backup"))
    mine, theirs = normal(example), normal(shipped)
    hold(mine.keys() == theirs.keys(), f"the example has {sorted(mine)}, and the CronJobs {sorted(theirs)}")
    for key, document in mine.items():
        hold(document["metadata"].pop("namespace", None) == "asana-backup", f"{key} is in no namespace")
        if key[0] == "ConfigMap":
            hold(document["data"] == {"config.toml": settings}, f"the example's pods read {document['data']}")
        elif key[0] == "ServiceAccount":
            role = document["metadata"].pop("annotations")
            hold(list(role.values()) != list(theirs[key]["metadata"].pop("annotations").values()), f"the role is {role}")
            hold(document == theirs[key], "the example changes more than the role")
        else:
            difference = differ(document, theirs[key], "/".join(key))
            hold(difference is None, f"the example changes {difference}")
    said_so, code = said([program(), "--config", KUBERNETES / "example" / "config.toml", "gaps", "--organization", "nobody"])
    hold(code == 10 and "known: acme" in said_so, f"example/config.toml: {said_so}")


def own_overlay(place):
    """Holds what is commented in the example to be right once it counts, in an overlay of each way to run it."""
    text = opened(KUBERNETES / "example" / "kustomization.yaml", "- target:")
    no_role, given = re.subn(r"(role-arn: ).*", r"\1null", text)
    hold(given == 1, "the example names no role")
    (place / "config.toml").write_text((KUBERNETES / "example" / "config.toml").read_text())
    for name, kind in {"cronjob": "CronJob", "daemon": "Deployment", "indexed": "Job", "backfill": "Job"}.items():
        mine = no_role.replace("- ../cronjob", f"- {os.path.relpath(KUBERNETES / name, place)}")
        if kind != "CronJob":
            mine = mine.replace("kind: CronJob", f"kind: {kind}").replace("/spec/jobTemplate/spec/", "/spec/")
        (place / "kustomization.yaml").write_text(mine)
        made = kustomize(place)
        valid(f"own-{name}", made, place)
        for one in made:
            if pod_template(one):
                given = pod_template(one)["spec"]["containers"][0].get("envFrom")
                hold(given == [{"secretRef": {"name": "asana-backup-store"}}], f"{name}: {one['metadata']['name']} has {given}")
            elif one["kind"] == "ServiceAccount":
                hold(not one["metadata"].get("annotations"), f"{name}: the role stays")
            elif one["kind"] == "NetworkPolicy":
                ports = [port["port"] for rule in one["spec"]["egress"] for port in rule["ports"]]
                hold(ports == [53, 53, 443, 9091], f"{name}: pods may reach {ports}")


def in_jobs(overlays, place):
    """Holds the Jobs that the runbook makes by hand to what is asked of any other."""
    if not shutil.which("jq"):
        return "; there is no jq, so no Job was made by hand"
    job_of = '{apiVersion: "batch/v1", kind: "Job", metadata: {name: $name}} * .spec.jobTemplate'
    for world, name, kind, made_of in (
        ("Kubernetes, the daemon", "daemon", "Deployment", "."),
        ("Kubernetes, CronJobs", "cronjob", "CronJob", job_of),
    ):
        (found,) = (one for one in overlays[name] if (one["kind"], one["metadata"]["name"]) == (kind, "asana-backup"))
        (place / "found.json").write_text(json.dumps(found))
        # As kubectl does; what is not about a Job needs a cluster.
        kubectl = f"""case "$*" in
            *" -o json") jq --arg name asana-backup-by-hand '{made_of}' {place}/found.json ;;
            *" create -f -") cat ;;
            *) ;;
        esac"""
        (job,) = documents(played(world, "kubectl", kubectl))
        hold((job["kind"], job["metadata"]["name"]) == ("Job", "asana-backup-by-hand"), f"{world}: {job}")
        valid("by-hand", [job], place)
        pod = job["spec"]["template"]["spec"]
        restricted(world, pod)
        hold(pod.get("restartPolicy") == "Never", f"{world}: a command by hand is begun anew")
        probes = [key for key in pod["containers"][0] if key.endswith("Probe")]
        hold(not probes, f"{world}: a command by hand has {probes}, which it cannot answer")
        labels = job["spec"]["template"]["metadata"]["labels"].items()
        hold(labels >= {"app.kubernetes.io/name": "asana-backup"}.items(), f"{world}: the NetworkPolicy does not know {labels}")
    return ""


def opened(path, first):
    """A file without the comment signs of each block that begins with a line."""
    text = path.read_text()
    hold(f"# {first}\n" in text, f"{path.name} has no commented `{first}`")
    while f"# {first}\n" in text:
        before, _, after = text.partition(f"# {first}\n")
        indent = before.rpartition("\n")[2]
        block = re.match(rf"(?:{indent}# .*\n)*", after)[0]
        text = before + first + "\n" + block.replace(f"{indent}# ", indent) + after.removeprefix(block)
    return text


def pushed(place):
    """Holds what is commented for a Pushgateway and for the roles of clouds to be right once it counts: the settings, and the
    ways there, which are the chart's where it is given them."""
    config = place / "config.toml"
    config.write_text(opened(KUBERNETES / "base" / "config.toml", "[metrics]"))
    text, code = said([program(), "--config", config, "gaps", "--organization", "nobody"])
    hold(code == 10 and "known: acme" in text, f"[metrics] of base/config.toml: {text}")
    (policy,) = documents(opened(KUBERNETES / "base" / "networkpolicy.yaml", "- to:"))
    valid("networkpolicy", [policy], place)
    out = {
        (to.get("ipBlock", {}).get("cidr"), one["port"])
        for rule in policy["spec"]["egress"]
        for to in rule.get("to", [{}])
        for one in rule["ports"]
    }
    port = int(re.search(r'^pushgateway_url = ".*:(\d+)"$', config.read_text(), re.MULTILINE)[1])
    anywhere = {at for address, at in out if not address}
    hold(anywhere == {53, 443, port, 4318}, f"pods may reach {anywhere}, and the Pushgateway listens on {port}")
    roles = {(f"169.254.{address}/32", at) for address, ports in LENDERS.items() for at in ports}
    hold({one for one in out if one[0]} == roles, f"of {roles} pods may reach {out}")
    # The first two are in force as shipped.
    charts = normal(helm({"networkPolicy": {"extraEgress": policy["spec"]["egress"][2:]}}))
    difference = differ(policy["spec"]["egress"], charts["NetworkPolicy", "asana-backup"]["spec"]["egress"], "egress")
    hold(difference is None, f"networkPolicy.extraEgress: {difference}")


def holder(document, job, uid, pod):
    """The name that claims are held in by a pod of this name, of this Job: what Kubernetes makes of the variables."""
    fields = {
        "metadata.name": pod,
        "metadata.labels['batch.kubernetes.io/job-name']": job,
        "metadata.labels['batch.kubernetes.io/controller-uid']": uid,
    }
    known = {}
    for one in pod_template(document)["spec"]["containers"][0]["env"]:
        value = one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        known[one["name"]] = re.sub(r"\$\((\w+)\)", lambda name: known.get(name[1], name[0]), value)
    return known.get("ASANA_BACKUP_HOLDER", pod)


def claims(workloads):
    """Holds each workload to names that are taken over at once by nobody but who comes after the one before has ended."""
    held = set()
    for name, document in workloads.items():
        if document["kind"] == "Deployment":
            held.add(holder(document, None, None, "asana-backup-1"))
            hold(holder(document, None, None, "asana-backup-2") not in held, f"{name}: a second pod takes over at once")
            continue
        spec = document["spec"].get("jobTemplate", document)["spec"]
        hold(spec.get("podReplacementPolicy") == "Failed", f"{name}: a pod is replaced before it has ended")
        first = holder(document, name, "uid-1", f"{name}-a")
        hold(holder(document, name, "uid-1", f"{name}-b") == first, f"{name}: the next attempt of a Job waits for its own claim")
        for job, uid in ((f"{name}-by-hand", "uid-2"), (name, "uid-3")):
            hold(holder(document, job, uid, f"{name}-c") != first, f"{name}: another Job takes over at once")
        held.add(first)
    hold(len(held) == len(workloads), f"the workloads {list(workloads)} share a name: {held}")


def normal(all_documents):
    """Documents by kind and name, without what is Helm's own, and without the digest that kustomize puts in a name."""
    own = {"helm.sh/chart", "app.kubernetes.io/managed-by", "checksum/config", "imagePullPolicy"}
    plain = re.compile(r"^asana-backup-[a-z0-9]{10}$")

    def without(value):
        if isinstance(value, dict):
            kept = {key: without(inner) for key, inner in value.items() if key not in own}
            return {key: inner for key, inner in kept.items() if key != "annotations" or inner}
        if isinstance(value, list):
            return [without(inner) for inner in value]
        return "asana-backup" if isinstance(value, str) and plain.match(value) else value

    return {(one["kind"], one["metadata"]["name"]): one for one in map(without, all_documents)}


def same(name, ours, charts):
    """Holds two renderings to be the same, and names the first difference."""
    ours, charts = normal(ours), normal(charts)
    hold(ours.keys() == charts.keys(), f"{name}: kustomize gives {sorted(ours)}, and Helm {sorted(charts)}")
    for key in ours:
        difference = differ(ours[key], charts[key], "/".join(key))
        hold(difference is None, f"{name}: kustomize and Helm differ at {difference}")


def started(all_documents):
    """The chart's documents, with the Jobs that its CronJobs make in place of those which kustomize knows as Jobs."""
    # A Job is never changed: the next upgrade would fail by it, or begin it anew once it has expired.
    jobs = [one["metadata"]["name"] for one in all_documents if one["kind"] == "Job"]
    hold(not jobs, f"the chart itself makes the Jobs {jobs}")
    made = []
    for one in all_documents:
        if one["metadata"]["name"].endswith(("-indexed", "-backfill")):
            hold(one["spec"].get("suspend", False) == one["metadata"]["name"].endswith("-backfill"), f"{one['metadata']} runs by itself, or never")
            job = one["spec"]["jobTemplate"]
            one = {**job, "apiVersion": "batch/v1", "kind": "Job", "metadata": {**job["metadata"], "name": one["metadata"]["name"]}}
        made.append(one)
    return made


def differ(one, other, path):
    """Where two values differ first."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            found = differ(one.get(key), other.get(key), f"{path}.{key}")
            if found:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        each = (differ(a, b, f"{path}[{place}]") for place, (a, b) in enumerate(zip(one, other)))
        return next(filter(None, each), None)
    return None if one == other else f"{path}: {one!r} and {other!r}"


def helm(values, name="asana-backup"):
    """What Helm makes of the chart, for a release of this name."""
    import helm_python

    rendered = helm_python.Chart.load(CHART).render(values, name=name, namespace="backups")
    return [one for path, text in rendered.items() if path.endswith(".yaml") for one in documents(text)]


def manifests():
    """The manifests and the chart, as their own tools render them."""
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    overlays = {name: kustomize(KUBERNETES / name) for name in ("cronjob", "daemon", "indexed", "backfill", "example")}
    count = 0
    with folder() as place:
        overlays["daemon with monitor"] = with_monitor(place)
        for name, all_documents in overlays.items():
            valid(name, all_documents, place)
            together(all_documents)
            count += len(all_documents)
            for document in all_documents:
                template = pod_template(document)
                if template:
                    restricted(name, template["spec"])
                    image = template["spec"]["containers"][0]["image"]
                    hold(image.endswith(f":{version}"), f"{name} runs {image}, and this is {version}")
        monitored(overlays["daemon with monitor"])
        second_release(place)
        as_told()
        pushed(place)
        own_overlay(place)
        jobs = in_jobs(overlays, place)
        valid("secret", documents((KUBERNETES / "secret.example.yaml").read_text()), place)
    claims({
        f"{name}/{one['metadata']['name']}": one
        for name, made in overlays.items()
        if "monitor" not in name
        for one in made
        if pod_template(one)
    })
    as_shipped(overlays["example"], overlays["cronjob"])
    # Who only runs tells nobody whether the repository is whole: AsanaBackupVerifyOverdue would fire for everybody.
    told = {tuple(pod_template(one)["spec"]["containers"][0]["args"]) for one in overlays["cronjob"] if pod_template(one)}
    hold(("verify",) in told, f"the CronJobs say {told}, and none verifies")
    import helm_python

    report = helm_python.lint(CHART, strict=True)
    bad = [one for one in report["messages"] if one["severity"] > 1] + report["errors"]
    hold(not bad, f"helm lint: {bad}")
    same("cronjob", overlays["cronjob"], helm({}))
    same("indexed", overlays["indexed"], [one for one in started(helm({"mode": "indexed"})) if one["kind"] != "CronJob"])
    same("daemon", overlays["daemon with monitor"], helm({"mode": "daemon", "podMonitor": {"enabled": True}}))
    backfill = [one for one in started(helm({"backfill": {"enabled": True}})) if one["kind"] != "CronJob"]
    same("backfill", overlays["backfill"], backfill)
    wrongs = [({"mode": "often"}, "mode"), ({"replicas": 2}, "replicas")]
    wrongs += [({"image": {"repository": "r", "digest": "latest"}}, "digest")]
    # The kubelet would find nobody there.
    config = (KUBERNETES / "base" / "config.toml").read_text()
    listens = 'listen = "0.0.0.0:9464"'
    for other in ("", f"# {listens}", 'listen = "off"', 'listen = "127.0.0.1:9464"', 'listen = "[::1]:9464"', 'listen = "0.0.0.0:9465"'):
        wrongs.append(({"mode": "daemon", "config": config.replace(listens, other)}, "listen"))
    for wrong, why in wrongs:
        with contextlib.redirect_stderr(io.StringIO()):
            try:
                helm(wrong)
            except helm_python.HelmError as error:
                hold(why in str(error), f"the chart says of {wrong}: {error}")
                continue
        hold(False, f"the chart takes {wrong}")
    for right in ('listen="[::]:9464" # all', "listen = '10.0.0.1:9464'"):
        helm({"mode": "daemon", "config": config.replace(listens, right)})
    helm({"config": config.replace(listens, "")})
    return f"{count} documents of {len(overlays)} overlays are valid, and the chart gives the same{jobs}"


if __name__ == "__main__":
    which = {"units": units, "manifests": manifests}
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in which:
        sys.exit(f"usage: deploy.py {'|'.join(which)}")
    Path(program()).resolve(strict=True)
    run_check(which[name])
