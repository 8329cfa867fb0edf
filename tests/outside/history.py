"""Reads a repository's tables with DuckDB and PyIceberg, and compares every row with what was written.

    cargo run --example history -- /tmp/repository /tmp/expected.json
    python3 tests/outside/history.py /tmp/expected.json      # needs tests/outside/requirements.txt

For an S3 store set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, unless it is AWS, AWS_ENDPOINT_URL.

Each reader finds the table in three ways: by the metadata file that a snapshot names, by the hint, and by travelling
in time from the latest metadata, by snapshot and by moment. Each is asked for all rows, and for some by a filter, so that a
wrong bound, which hides rows, is seen. It ends at the first difference, with status 1.
"""

import datetime
import json
import os
import sys
import tempfile
from importlib.resources import files
from urllib.parse import urlparse

import duckdb
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.table import StaticTable


def main(expected_file):
    expected = json.load(open(expected_file))
    tasks, tags = f"{expected['tables']}/tasks", f"{expected['tables']}/tags"
    snapshots = expected["snapshots"]
    checks = 0
    for reader in (Duck(tasks), Ice(tasks)):
        latest = snapshots[-1]
        checks += reader.compare("by hint", reader.by_hint(tasks), latest)
        empty = reader.rows(reader.by_hint(tags))
        assert empty == {}, f"{reader}: a table without rows has {empty}"
        for snapshot in snapshots:
            n = snapshot["number"]
            checks += reader.compare(f"snapshot {n} by metadata", reader.by_metadata(snapshot), snapshot)
            checks += reader.compare(f"snapshot {n} by id", reader.by_id(tasks, snapshot), snapshot)
            checks += reader.compare(f"snapshot {n} by time", reader.by_time(tasks, snapshot), snapshot)
            for way, table in (("metadata", reader.by_metadata(snapshot["tags"])), ("id", reader.by_id(tags, snapshot["tags"]))):
                reader.same(f"tags as of snapshot {n} by {way}", reader.rows(table), snapshot["tags"]["rows"])
                checks += 1
    print(f"{checks} readings of {len(snapshots)} snapshots agree")


class Reader:
    def __str__(self):
        return type(self).__name__

    def compare(self, what, table, snapshot):
        rows = snapshot["rows"]
        self.same(f"{what}: all rows", self.rows(table), rows)
        keys = sorted(rows)
        for key in (keys[0], keys[len(keys) // 2], keys[-1]):
            self.same(f"{what}: one row", self.one(table, key), {key: rows[key]})
        low, high = keys[len(keys) // 3], keys[len(keys) // 2]
        some = {key: rows[key] for key in keys if low <= key < high}
        self.same(f"{what}: a range", self.between(table, low, high), some)
        self.same(f"{what}: a row that is gone", self.one(table, "nobody"), {})
        return 6

    def same(self, what, found, expected):
        if found == expected:
            return
        lost, extra = set(expected) - set(found), set(found) - set(expected)
        sys.exit(f"{self} {what}: {len(found)} of {len(expected)} rows, {len(lost)} lost, {len(extra)} too many")


class Duck(Reader):
    def __init__(self, location):
        self.connection = duckdb.connect()
        self.extensions = tempfile.TemporaryDirectory()
        self.connection.execute(f"SET extension_directory = '{self.extensions.name}'")
        for name in ("avro", "httpfs", "iceberg"):
            wheel = files(f"duckdb_extension_{name}")
            path = wheel / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
            self.connection.execute(f"INSTALL '{path}'")
            self.connection.execute(f"LOAD {name}")
        self.connection.execute("SET TimeZone = 'UTC'")
        if location.startswith("s3://"):
            self.connection.execute(self.secret())

    @staticmethod
    def secret():
        endpoint = urlparse(os.environ.get("AWS_ENDPOINT_URL", "https://s3.amazonaws.com"))
        style = "path" if "AWS_ENDPOINT_URL" in os.environ else "vhost"
        return (
            f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}',"
            f" SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', REGION '{os.environ.get('AWS_REGION', 'us-east-1')}',"
            f" ENDPOINT '{endpoint.netloc}', URL_STYLE '{style}', USE_SSL {endpoint.scheme == 'https'})"
        )

    def by_hint(self, location):
        return f"iceberg_scan('{location}')"

    def by_metadata(self, snapshot):
        return f"iceberg_scan('{snapshot['metadata']}')"

    def by_id(self, location, snapshot):
        return f"iceberg_scan('{location}', snapshot_from_id = {snapshot['iceberg_snapshot']})"

    def by_time(self, location, snapshot):
        moment = datetime.datetime.fromtimestamp(snapshot["committed_at"] / 1000, datetime.timezone.utc)
        return f"iceberg_scan('{location}', snapshot_from_timestamp = TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S.%f}')"

    def rows(self, table, where="true", values=()):
        found = self.connection.execute(f"SELECT _key, name FROM {table} WHERE {where}", values).fetchall()
        assert len(found) == len(dict(found)), f"{self}: a key is there twice"
        return dict(found)

    def one(self, table, key):
        return self.rows(table, "gid = ?", [key])

    def between(self, table, low, high):
        return self.rows(table, "_key >= ? AND _key < ? AND _seen_at > TIMESTAMPTZ '2026-01-01'", [low, high])


class Ice(Reader):
    def __init__(self, location):
        self.properties = {}
        if location.startswith("s3://"):
            self.properties = {"s3.endpoint": os.environ.get("AWS_ENDPOINT_URL", "")}

    def by_hint(self, location):
        return StaticTable.from_metadata(location, self.properties), None

    def by_metadata(self, snapshot):
        return StaticTable.from_metadata(snapshot["metadata"], self.properties), None

    def by_id(self, location, snapshot):
        return self.by_hint(location)[0], snapshot["iceberg_snapshot"]

    def by_time(self, location, snapshot):
        table, _ = self.by_hint(location)
        return table, table.snapshot_as_of_timestamp(snapshot["committed_at"]).snapshot_id

    def rows(self, table, **filters):
        table, snapshot = table
        read = table.scan(snapshot_id=snapshot, selected_fields=("_key", "name"), **filters).to_arrow()
        found = dict(zip(read["_key"].to_pylist(), read["name"].to_pylist()))
        assert len(found) == len(read), f"{self}: a key is there twice"
        return found

    def one(self, table, key):
        return self.rows(table, row_filter=EqualTo("gid", key))

    def between(self, table, low, high):
        return self.rows(table, row_filter=And(GreaterThanOrEqual("_key", low), LessThan("_key", high)))


if __name__ == "__main__":
    main(*sys.argv[1:])
