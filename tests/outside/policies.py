"""Puts the policies and rules of deploy/iam on servers, and looks at what they allow then.

    policies.py            every scenario
    policies.py NAME...    some of them

moto plays AWS: it checks the grammar of users' policies and of lifecycle rules, keeps a bucket's policy, and enforces nothing.
SeaweedFS enforces a bucket's policy, as far as it knows the conditions. MOTO names moto's server.
"""

import functools
import json
import sys
import time

import botocore.exceptions
import botocore.session

from stores import IAM, Place, administrator, known_to, moto, secured, users, wait
from world import PATIENCE, folder, hold, run_check, seaweed, simulator

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


def policed(admin, *statements):
    """Gives the bucket some statements of its policy."""
    policy = shipped("bucket-policy.json")
    chosen = [one for one in policy["Statement"] if one["Sid"] in statements]
    hold(len(chosen) == len(statements), f"the policy has no {statements}")
    admin.put_bucket_policy(Bucket="backups", Policy=json.dumps({**policy, "Statement": chosen}))


def until_refused(call, promise, **arguments):
    """Waits until a policy is known to whoever enforces it, which takes a moment."""
    until = time.monotonic() + PATIENCE
    while (code := refused(call, **arguments)) is None:
        hold(time.monotonic() < until, promise)
        wait(0.2)
    hold(code == "AccessDenied", f"{promise}: {code}")


def seaweedfs():
    """The bucket's policy, statement by statement, where it is enforced against somebody who may do anything."""
    with folder() as place, seaweed(place) as store:
        admin = administrator(store.endpoint)
        ruled(admin)
        users(store, place, [("wide", WIDE, {"Version": "2012-10-17", "Statement": [ALL]})])
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
    key = "does not know s3:if-none-match, and so creates nothing either" if new else "knows s3:if-none-match"
    return f"SeaweedFS takes the rules; it denies deletes, writing over, and plain http even to who may do all; it {key}"


def over_tls():
    """A whole run, beside the rules and what SeaweedFS knows of the bucket's policy."""
    with folder() as place, simulator("tiny") as world, secured(place) as (store, ca):
        admin = administrator(store.endpoint, ca=str(ca))
        ruled(admin)
        policed(admin, "NobodyDeletesButTheKeeper", "NobodyComesWithoutTls")
        until_refused(admin.delete_object, "somebody deletes", Bucket="backups", Key="acme/a")
        settings = {"endpoint": store.endpoint, "region": "us-east-1", "ca_file": str(ca)}
        mine = Place(world, place, "s3://backups/acme", settings)
        mine.runs("run")
        mine.runs("verify", "--deep")
        hold("refused" in mine.checks()["deleting"]["says"], "the program may delete")
    return "a run needs nothing that they deny"


SCENARIOS = [amazon, seaweedfs, over_tls]


if __name__ == "__main__":
    known = {play.__name__: play for play in SCENARIOS}
    for name in sys.argv[1:] or known:
        run_check(known[name])
