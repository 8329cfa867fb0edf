"""Puts the policies and rules of deploy/iam on servers, and looks at what they allow then.

    policies.py            every scenario
    policies.py NAME...    some of them

moto plays AWS: it checks the grammar of users' policies and of lifecycle rules, keeps a bucket's policy, and enforces nothing.
SeaweedFS enforces a bucket's policy, as far as it knows the conditions. MOTO names moto's server.
"""

import datetime
import functools
import json
import re
import subprocess
import sys
import time

import botocore.exceptions
import botocore.session

from stores import IAM, Place, administrator, known_to, moto, secured, users, wait
from world import PATIENCE, folder, hold, run_check, seaweed, simulator

GUIDE = IAM / "README.md"
KEEPER = "arn:aws:iam::123456789012:role/keeper"
HINT = "acme/tables/tasks/metadata/version-hint.text"
WIDE = ("widekey", "widesecret123")
ALL = {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::backups", "arn:aws:s3:::backups/*"]}


def shipped(name):
    """A file of deploy/iam, with the names of the tests."""
    text = (IAM / name).read_text().replace("BUCKET", "backups").replace("PREFIX", "acme").replace("KEEPER", KEEPER)
    return json.loads(text)


def refused(call, **arguments):
    """The code with which a server refuses a call; none if it does not."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as said:
        return said.response["Error"]["Code"]
    return None


def ruled(client, bucket="backups"):
    """Gives the bucket its lifecycle rules, which must come back as they were written."""
    rules = shipped("lifecycle.json")
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
    found = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    hold(found == rules["Rules"], f"the rules come back as {found}")


def amazon():
    """What AWS would be sent, as far as moto checks it."""
    with moto() as url:
        client = administrator(url)
        ruled(client)
        wrong = shipped("lifecycle.json")
        wrong["Rules"][1]["Expiration"]["ExpiredObjectDeleteMarker"] = True
        code = refused(client.put_bucket_lifecycle_configuration, Bucket="backups", LifecycleConfiguration=wrong)
        hold(code == "MalformedXML", f"moto looks at no rules: {code}")
        policy = shipped("bucket-policy.json")
        client.put_bucket_policy(Bucket="backups", Policy=json.dumps(policy))
        hold(json.loads(client.get_bucket_policy(Bucket="backups")["Policy"]) == policy, "the policy comes back as another")
        iam = botocore.session.get_session().create_client(
            "iam", region_name="us-east-1", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b"
        )
        iam.create_user(UserName="asana-backup")
        for name in ("writer", "reader"):
            given = functools.partial(iam.put_user_policy, UserName="asana-backup", PolicyName=name)
            given(PolicyDocument=json.dumps(shipped(f"{name}.json")))
            wrong = shipped(f"{name}.json")
            wrong["Statement"][0]["Effect"] = "Permit"
            code = refused(given, PolicyDocument=json.dumps(wrong))
            hold(code == "MalformedPolicyDocument", f"moto looks at no policies: {code}")
    return "moto takes both users' policies and the rules, and refuses wrong ones; it keeps the bucket's policy"


def told(place):
    """The commands that the guide gives to `aws`, as words, and what it writes beside them."""
    script = "".join(re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL))
    for path in IAM.glob("*.json"):
        (place / path.name).write_text(path.read_text())
    played = f"""aws() {{ printf '%s\\0' "$@" >>{place}/words; printf '\\n\\0' >>{place}/words; }}\n{script}"""
    ran = subprocess.run(["bash", "-euo", "pipefail", "-c", played], cwd=place, capture_output=True, text=True, timeout=60)
    hold(ran.returncode == 0, f"deploy/iam/README.md: {ran.stderr}")
    commands = (place / "words").read_text().split("\n\0")[:-1]
    return [command.split("\0")[:-1] for command in commands]


def called(clients, place, words):
    """Does what a command of `aws` would."""
    client = clients["s3" if words[0] == "s3api" else words[0]]
    operation = client.meta.service_model.operation_model("".join(word.capitalize() for word in words[1].split("-")))
    members = {"--" + botocore.xform_name(name, "-"): (name, shape) for name, shape in operation.input_shape.members.items()}
    arguments = {}
    rest = iter(words[2:])
    for option in rest:
        name, shape = members[option]
        value = True if shape.type_name == "boolean" else next(rest)
        if str(value).startswith("file://"):
            value = (place / value.removeprefix("file://")).read_text()
        if shape.type_name == "structure":
            value = json.loads(value) if value.startswith("{") else dict([value.split("=")])
        arguments[name] = value
    getattr(client, words[1].replace("-", "_"))(**arguments)
    return arguments


def guide():
    """What the guide says to type makes a bucket that is guarded, in an order that does not lock out whoever types it."""
    with folder() as place, moto() as url:
        words = told(place)
        s3, iam = (
            botocore.session.get_session().create_client(
                name, region_name="eu-central-1", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b"
            )
            for name in ("s3", "iam")
        )
        iam.create_role(RoleName="asana-backup-writer", AssumeRolePolicyDocument="{}")
        done = [(command[1], called({"s3": s3, "iam": iam}, place, command)) for command in words]
        of_bucket = [name for name, arguments in done if "Bucket" in arguments]
        hold(of_bucket[-1] == "put-bucket-policy", f"after the policy its author may do nothing of {of_bucket}")
        bucket = done[0][1]["Bucket"]
        lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        hold(lock["Rule"]["DefaultRetention"]["Mode"] == "COMPLIANCE", f"the lock is {lock}")
        hold(s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled", "the bucket keeps no versions")
        hold(len(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) == 3, "the bucket has no rules")
        policies = [s3.get_bucket_policy(Bucket=bucket)["Policy"], *(path.read_text() for path in (place / "own").glob("*.json"))]
        left = [word for text in policies for word in ("BUCKET", "PREFIX", "KEEPER") if word in text]
        hold(len(policies) == 5 and not left, f"{left} is left of what was to be written")
        for kind, name in (("user", "asana-backup"), ("role", "asana-backup-writer")):
            found = getattr(iam, f"list_{kind}_policies")(**{f"{kind.capitalize()}Name": name})["PolicyNames"]
            hold(found == ["writer"], f"the {kind} has {found}")
    return f"{len(done)} commands of the guide make a bucket with lock, versions, rules and policy, and a writer"


def policed(admin, *statements, bucket="backups"):
    """Gives the bucket some statements of its policy."""
    policy = shipped("bucket-policy.json")
    chosen = [one for one in policy["Statement"] if one["Sid"] in statements]
    hold(len(chosen) == len(statements), f"the policy has no {statements}")
    text = json.dumps({**policy, "Statement": chosen}).replace(":::backups", f":::{bucket}")
    admin.put_bucket_policy(Bucket=bucket, Policy=text)


def until_refused(call, promise, **arguments):
    """Waits until a policy is known to whoever enforces it, which takes a moment."""
    until = time.monotonic() + PATIENCE
    while (code := refused(call, **arguments)) is None:
        hold(time.monotonic() < until, promise)
        wait(0.2)
    hold(code == "AccessDenied", f"{promise}: {code}")


def undoing(who):
    """What each way to undo the guards of a bucket comes to."""
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    rules = shipped("lifecycle.json")
    ways = [
        (who.delete_bucket_lifecycle, {}),
        (who.put_bucket_lifecycle_configuration, {"LifecycleConfiguration": rules}),
        (who.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Suspended"}}),
        (who.put_object_lock_configuration, {"ObjectLockConfiguration": rule}),
        (who.put_object_retention, {"Key": "acme/a", "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": until}}),
        (who.put_object_legal_hold, {"Key": "acme/a", "LegalHold": {"Status": "OFF"}}),
        (who.delete_bucket, {}),
        (who.delete_bucket_policy, {}),
        (who.put_bucket_policy, {"Policy": json.dumps({"Version": "2012-10-17", "Statement": []})}),
    ]
    return {call.__name__: refused(call, Bucket="guarded", **more) for call, more in ways}


def guarded(admin, everybody):
    """Whoever may do anything undoes the guards of a bucket as long as its policy does not forbid that."""
    admin.create_bucket(Bucket="guarded", ObjectLockEnabledForBucket=True)
    admin.put_object(Bucket="guarded", Key="acme/a", Body=b"x")
    denied = [way for way, code in undoing(admin).items() if code == "AccessDenied"]
    hold(not denied, f"without the policy, {denied} is denied")
    policed(admin, "NobodyUndoesWhatProtectsButTheKeeper", bucket="guarded")
    for who in everybody:
        until_refused(who.delete_bucket_lifecycle, "somebody takes rules away", Bucket="guarded")
        allowed = {way: code for way, code in undoing(who).items() if code != "AccessDenied"}
        hold(not allowed, f"with the policy, not denied: {allowed}")
        hold(refused(who.put_object, Bucket="guarded", Key="acme/b", Body=b"x") is None, "nothing can be written")


def seaweedfs():
    """The bucket's policy, statement by statement, where it is enforced against somebody who may do anything."""
    with folder() as place, seaweed(place) as store:
        admin = administrator(store.endpoint)
        ruled(admin)
        wide = {**ALL, "Resource": [*ALL["Resource"], "arn:aws:s3:::guarded", "arn:aws:s3:::guarded/*"]}
        users(store, place, [("wide", WIDE, {"Version": "2012-10-17", "Statement": [wide]})])
        known_to(store.endpoint, WIDE, "backups")
        everybody = [administrator(store.endpoint, WIDE), admin]
        for key in ("acme/a", "elsewhere", HINT):
            admin.put_object(Bucket="backups", Key=key, Body=b"x")
        policed(admin, "NobodyDeletesButTheKeeper")
        for who in everybody:
            until_refused(who.delete_object, "somebody deletes", Bucket="backups", Key="acme/a")
        hold(refused(admin.delete_object, Bucket="backups", Key="elsewhere") is None, "nothing at all is deleted")
        hold(refused(admin.put_object, Bucket="backups", Key="acme/b", Body=b"x") is None, "nothing can be written")
        policed(admin, "NobodyWritesOverWhatIsThereButVersionHints")
        for who in everybody:
            until_refused(who.put_object, "somebody writes over what is there", Bucket="backups", Key="acme/a", Body=b"y")
            hold(refused(who.put_object, Bucket="backups", Key=HINT, Body=b"y") is None, "a version hint cannot be moved")
        new = refused(admin.put_object, Bucket="backups", Key="acme/new", Body=b"x", IfNoneMatch="*")
        policed(admin, "NobodyComesWithoutTls")
        for who in everybody:
            until_refused(who.list_objects_v2, "somebody comes without TLS", Bucket="backups")
        guarded(admin, everybody)
    key = "does not know s3:if-none-match, and so creates nothing either" if new else "knows s3:if-none-match"
    return f"SeaweedFS takes the rules; it denies deletes, writing over, plain http, and the undoing of guards even to who may do all; it {key}"


def over_tls():
    """A whole run, beside the rules and what SeaweedFS knows of the bucket's policy."""
    with folder() as place, simulator("tiny") as world, secured(place) as (store, ca):
        admin = administrator(store.endpoint, ca=str(ca))
        ruled(admin)
        policed(admin, "NobodyDeletesButTheKeeper", "NobodyUndoesWhatProtectsButTheKeeper", "NobodyComesWithoutTls")
        until_refused(admin.delete_object, "somebody deletes", Bucket="backups", Key="acme/a")
        settings = {"endpoint": store.endpoint, "region": "us-east-1", "ca_file": str(ca)}
        mine = Place(world, place, "s3://backups/acme", settings)
        mine.runs("run")
        mine.runs("verify", "--deep")
        hold("refused" in mine.checks()["deleting"]["says"], "the program may delete")
    return "a run needs nothing that they deny"


SCENARIOS = [amazon, guide, seaweedfs, over_tls]


if __name__ == "__main__":
    known = {play.__name__: play for play in SCENARIOS}
    for name in sys.argv[1:] or known:
        run_check(known[name])
