"""Reads a repository back with the programs that will read it when ours is gone: DuckDB and PyIceberg.

    readback.py local    a repository in a folder
    readback.py s3       a repository on SeaweedFS

Each run of the program is held to the truth of the simulated organization at that moment: every row and every typed
column of every table, by the metadata a snapshot names, by the hint, and by travelling back in time. Then `_raw`, byte
for byte; filters; the system tables; a run that is killed; an organization that stands still; one user's new name; and a
run that reads only what changed.
"""

import datetime
import hashlib
import json
import os
import re
import select
import sys
import time

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.table import StaticTable

import expected
from world import (
    PATIENCE,
    TABLES,
    Store,
    duck,
    folder,
    hold,
    iceberg_properties,
    run_check,
    run_program,
    seaweed,
    settings,
    simulator,
    start_program,
    stop,
)

RENAMES = ("rename_user", "rename_project", "rename_tag", "rename_enum_option")
SIZE = os.environ.get("READBACK_SIZE", "small")
OWN = ("_coverage", "_gaps", "_runs", "_tombstones")
"""The system tables."""
SLICES = 168
FEW = 100
"""Requests of a run over two edits, at most: of all there is, it would be thousands."""


def sorted_by_key(table):
    return table.take(pc.sort_indices(table["_key"]))


class Duck:
    """DuckDB and its Iceberg extension."""

    name = "DuckDB"
    empty_lists = False

    def __init__(self, store):
        self.store, self.connection = store, duck(store)

    def source(self, table, metadata, snapshot=None):
        """What to select from: the table as a metadata file has it, or as its folder's hint has it."""
        place = metadata or f"tables/{table}"
        url = f"{self.store.url.removeprefix('file://')}/{place}"
        past = f", snapshot_from_id = {snapshot}" if snapshot is not None else ""
        return f"iceberg_scan('{url}'{past})"

    def read(self, table, metadata=None, snapshot=None):
        return self.query(f"SELECT * FROM {self.source(table, metadata, snapshot)}")

    def query(self, sql, values=()):
        return self.connection.execute(sql, values).to_arrow_table()

    def keys(self, table, where):
        """The keys of the rows that a filter leaves."""
        conditions, values = [], []
        for column, operator, value in where:
            conditions.append(f"{column} {operator} ?")
            values.append(value)
        sql = f"SELECT _key FROM {self.source(table, None)} WHERE {' AND '.join(conditions)}"
        return set(self.query(sql, values)["_key"].to_pylist())


class Ice:
    """PyIceberg."""

    name = "PyIceberg"
    # It reads a list of objects that is not there as an empty one: https://github.com/apache/iceberg-python/issues/3833
    empty_lists = True

    def __init__(self, store):
        self.store, self.properties = store, iceberg_properties(store)

    def table(self, table, metadata):
        return StaticTable.from_metadata(f"{self.store.url}/{metadata or f'tables/{table}'}", self.properties)

    def read(self, table, metadata=None, snapshot=None):
        return self.table(table, metadata).scan(snapshot_id=snapshot).to_arrow()

    def keys(self, table, where):
        parts = {"=": EqualTo, ">=": GreaterThanOrEqual, "<": LessThan}
        wanted = None
        for column, operator, value in where:
            if isinstance(value, datetime.datetime):
                value = value.isoformat()
            part = parts[operator](column, value)
            wanted = part if wanted is None else And(wanted, part)
        scan = self.table(table, None).scan(row_filter=wanted, selected_fields=("_key",))
        return set(scan.to_arrow()["_key"].to_pylist())


class State:
    """One snapshot, and what was true when it was made."""

    def __init__(self, snapshot, truth):
        self.snapshot, self.truth = snapshot, truth
        self.tables = {table: expected.table_of(table, truth[table]) for table in TABLES}
        self.with_empty_lists = {table: expected.table_of(table, truth[table], lists=True) for table in TABLES}
        self.keys = {
            table: pa.array(sorted(expected.key(table, record) for record in truth[table]), pa.string())
            for table in TABLES
        }

    @property
    def number(self):
        return self.snapshot["number"]


class Proof:
    """One repository, and the readings of it."""

    def __init__(self, world, store, place):
        self.world, self.store = world, store
        self.environment = settings(world, store, place)
        self.readers = (Duck(store), Ice(store))
        self.readings = self.rows = 0
        self.resources = {}
        for line in run_program(["resources", "--output", "json"], {}).splitlines():
            resource = json.loads(line)
            self.resources[resource["table"]] = resource["record_fields"]

    # -- runs --------------------------------------------------------------------------------------------------------

    def run(self, *how):
        """A run of the program over a world that stands still, and the truth of that world."""
        run_program(["run", *(how or ("--full", "--accept-deletions"))], self.environment)
        return State(self.latest(), self.truth())

    def truth(self):
        """What is true now. People who left are no members any more; those that records still refer to, and that Asana
        still answers, belong into a copy all the same."""
        truth = {table: self.world.truth(table) for table in TABLES}
        members = {user["gid"] for user in truth["users"]}
        for gid in sorted(set().union(*map(_people, truth.values())) - members):
            answer = self.world.ask(f"/users/{gid}", {"opt_fields": ",".join(self.resources["users"])})
            hold(answer.status in (200, 404), f"GET /users/{gid} answers {answer.status}")
            if answer.status == 200:
                truth["users"].append(answer.json["data"])
        return truth

    def committed(self):
        """The keys of all snapshots. What a store in a folder calls by another name is still being written."""
        return {key for key in self.store.keys("snapshots") if re.fullmatch(r"snapshots/\d{20}\.json", key)}

    def latest(self):
        names = sorted(self.committed())
        hold(names, "after a run there is no snapshot")
        snapshot = self.store.json(names[-1])
        hold(
            names[-1] == f"snapshots/{snapshot['number']:020}.json",
            f"{names[-1]} says it is number {snapshot['number']}",
        )
        hold(snapshot["complete"], f"snapshot {snapshot['number']} is not complete: {_lacks(snapshot)}")
        hold(
            sorted(snapshot["tables"]) == sorted((*TABLES, *OWN)),
            f"snapshot {snapshot['number']} has tables {sorted(snapshot['tables'])}",
        )
        return snapshot

    def published(self):
        """What readers without a catalog go by."""
        found = {}
        for key in self.store.keys("tables"):
            name = key.rsplit("/", 1)[1]
            if name == "version-hint.text" or name.startswith("v"):
                found[key] = hashlib.sha256(self.store.read(key)).hexdigest()
        return found

    def parts(self):
        """The parts of Asana's tables: each run notes itself in a table of the program's own."""
        keys = (key for key in self.store.keys("tables") if "/data/" in key and key.endswith(".parquet"))
        return {key for key in keys if not key.startswith("tables/_")}

    # -- reading back ------------------------------------------------------------------------------------------------

    def same(self, what, table, reader, found, state):
        """Every row and every typed column is the truth's."""
        self.readings += 1
        self.rows += found.num_rows
        columns = set(expected.schema(table).names) | set(expected.SYSTEM)
        hold(
            set(found.column_names) == columns,
            f"{what}: columns {sorted(set(found.column_names) ^ columns)} are there and not expected, or the other way round",
        )
        found = sorted_by_key(found)
        keys = found["_key"].cast(pa.string()).combine_chunks()
        if not keys.equals(state.keys[table]):
            has, wants = set(keys.to_pylist()), set(state.keys[table].to_pylist())
            hold(len(has) == len(keys), f"{what}: a key is there twice")
            hold(
                has == wants,
                f"{what}: lacks {sorted(wants - has)[:5]} and has {sorted(has - wants)[:5]} that are not true",
            )
        right = (state.with_empty_lists if reader.empty_lists else state.tables)[table]
        for name in right.column_names:
            wanted = right[name].combine_chunks()
            got = found[name].cast(wanted.type).combine_chunks()
            if got.equals(wanted):
                continue
            for key, one, other in zip(keys.to_pylist(), got.to_pylist(), wanted.to_pylist()):
                hold(one == other, f"{what}: row {key}: {name} is {one!r}, in truth {other!r}")
            hold(False, f"{what}: {name} differs from the truth, in a way that Python does not see")

    def compare(self, state, hint=True):
        """Both readers, by metadata and by hint."""
        for table in TABLES:
            metadata = state.snapshot["tables"][table]["metadata"]
            for reader in self.readers:
                for how, named in (("by metadata", metadata), ("by hint", None))[: 2 if hint else 1]:
                    what = f"snapshot {state.number}, {table}, {reader.name} {how}"
                    self.same(what, table, reader, reader.read(table, named), state)

    def travel(self, past, latest):
        """The past is there, seen from the latest metadata."""
        for table in TABLES:
            snapshot = past.snapshot["tables"][table]["iceberg_snapshot"]
            metadata = latest.snapshot["tables"][table]["metadata"]
            for reader in self.readers:
                what = f"snapshot {past.number} from the metadata of {latest.number}, {table}, {reader.name}"
                self.same(what, table, reader, reader.read(table, metadata, snapshot), past)

    # -- what the program adds ---------------------------------------------------------------------------------------

    def system(self, state, before=None):
        """`_key`, `_parent`, `_raw`, `_hash`, `_seen_at`, `_run`, `_lane`, `_fields`; gives `_raw` by table and key."""
        raws = {}
        run = state.snapshot["run"]
        began, ended = (expected.moment(state.snapshot[name]) for name in ("started_at", "committed_at"))
        # The clocks of the program and of this check are one; that of the journal is written in milliseconds.
        began -= datetime.timedelta(milliseconds=1)
        for table in TABLES:
            metadata = state.snapshot["tables"][table]["metadata"]
            one, other = (sorted_by_key(reader.read(table, metadata)) for reader in self.readers)
            for name, kind in expected.SYSTEM.items():
                hold(
                    one[name].cast(kind).combine_chunks().equals(other[name].cast(kind).combine_chunks()),
                    f"snapshot {state.number}, {table}: DuckDB and PyIceberg read different {name}",
                )
            asked = self.resources[table]
            fields = f"{table}:{hashlib.sha256(','.join(asked).encode()).hexdigest()[:8]}"
            tree = _tree(asked)
            truth = {expected.key(table, record): record for record in state.truth[table]}
            raws[table] = {}
            system = one.select(list(expected.SYSTEM)).cast(pa.schema(expected.SYSTEM.items()))
            for row in system.to_pylist():
                where = f"snapshot {state.number}, {table}, row {row['_key']}"
                raws[table][row["_key"]] = row["_raw"]
                hold(row["_lane"] in ("walk", "changes"), f"{where}: _lane is {row['_lane']}")
                hold(
                    row["_fields"] == fields, f"{where}: _fields is {row['_fields']}, what is asked for gives {fields}"
                )
                record = json.loads(row["_raw"])
                digest = expected.digest(table, record, row["_parent"])
                hold(row["_hash"] == digest, f"{where}: _hash is {row['_hash']}, its _raw gives {digest}")
                self.parent(where, table, record, row["_parent"], truth[row["_key"]])
                if row["_run"] == run:
                    hold(
                        began <= row["_seen_at"] <= ended, f"{where}: _seen_at {row['_seen_at']} is not within the run"
                    )
                    _agrees(where, record, truth[row["_key"]], tree)
                else:
                    hold(before is not None, f"{where}: _run is {row['_run']}, there was only {run}")
                    old = before[table].get(row["_key"])
                    hold(row["_raw"] == old, f"{where}: not of this run, and not what the run before left")
        return raws

    def own(self, state, before, raws):
        """The system tables are what the snapshot says itself, and a tombstone keeps what the row last was."""
        number, snapshot = state.number, state.snapshot
        found = {}
        for table in OWN:
            metadata = snapshot["tables"][table]["metadata"]
            rows = [_ordered(reader.read(table, named)) for reader in self.readers for named in (metadata, None)]
            hold(all(other == rows[0] for other in rows), f"snapshot {number}, {table}: readers differ")
            found[table] = rows[0]
            self.readings, self.rows = self.readings + len(rows), self.rows + len(rows) * len(rows[0])
        hold(
            [row["snapshot"] for row in found["_runs"]] == list(range(1, number + 1)),
            f"snapshot {number}: _runs has {[row['snapshot'] for row in found['_runs']]}",
        )
        last = found["_runs"][-1]
        counts = [snapshot["tables"][table]["counts"] for table in TABLES]
        said = {name: sum(one[name] for one in counts) for name in ("rows", "new", "changed", "unchanged", "gone")}
        said |= {name: snapshot[name] for name in ("run", "plan", "program", "complete")}
        said["requests"] = sum(snapshot["requests"].values())
        hold(
            all(last[name] == value for name, value in said.items()),
            f"snapshot {number}: _runs says {last}, the snapshot {said}",
        )
        hold(not found["_gaps"], f"snapshot {number}: a world without faults has gaps: {found['_gaps'][:3]}")
        scopes = {row["scope"] for row in found["_coverage"] if row["table"] == "stories"}
        # The tasks that no listing leads to are part of what proves the stories.
        slices = {f"tasks {slice} of {SLICES}" for slice in range(SLICES)}
        hold(scopes == {"sweep", *slices}, f"snapshot {number}: _coverage has {sorted(scopes)} for stories")
        tables = {row["table"] for row in found["_coverage"]}
        hold(tables == set(TABLES), f"snapshot {number}: _coverage speaks for {sorted(tables)}")
        gone = {
            (table, key)
            for table in TABLES
            for key in set(before.keys[table].to_pylist() if before else ()) - set(state.keys[table].to_pylist())
        }
        graves = {(row["table"], row["key"]): row["raw"] for row in found["_tombstones"] if row["snapshot"] == number}
        hold(
            graves.keys() == gone,
            f"snapshot {number}: _tombstones has {sorted(graves.keys() ^ gone)[:5]} too much or too little",
        )
        for (table, key), raw in graves.items():
            hold(raw == raws[table][key], f"snapshot {number}: the tombstone of {table} {key} is not what its row was")
        return len(gone)

    def parent(self, where, table, record, parent, truth):
        """`_parent` is what the record says it hangs below; where it says nothing, what it was listed under."""
        if table not in expected.PARENTS:
            hold(parent is None, f"{where}: hangs below the organization, _parent is {parent}")
        elif table == "portfolio_items":
            hold(parent == truth["portfolio"], f"{where}: _parent is {parent}, in truth {truth['portfolio']}")
        elif truth.get(expected.PARENTS[table]):
            gid = truth[expected.PARENTS[table]]["gid"]
            hold(parent == gid, f"{where}: _parent is {parent}, in truth {gid}")

    def byte_for_byte(self, state, raws):
        """What was kept is what the same question is answered now, to the byte, for every record that did not change."""
        organization, compared = self.world.organization, 0
        truth = state.truth
        sample = sorted(truth["tasks"], key=lambda task: task["gid"])[:: max(1, len(truth["tasks"]) // 150)]
        portfolios, projects = truth["portfolios"], truth["projects"]
        questions = [
            ("workspaces", f"/workspaces/{organization}", {}, None),
            ("users", "/users", {"workspace": organization}, None),
        ]
        for table in ("workspace_memberships", "teams", "custom_fields", "tags", "projects"):
            questions.append((table, f"/workspaces/{organization}/{table}", {}, None))
        questions.append(("portfolios", "/portfolios", {"workspace": organization}, None))
        for one in truth["teams"]:
            questions.append(("team_memberships", f"/teams/{one['gid']}/team_memberships", {}, None))
        for one in projects:
            for table in ("custom_field_settings", "sections"):
                questions.append((table, f"/projects/{one['gid']}/{table}", {}, None))
            questions.append(("tasks", "/tasks", {"project": one["gid"]}, None))
            questions.append(("attachments", "/attachments", {"parent": one["gid"]}, None))
        for one in portfolios:
            questions.append(("portfolio_items", f"/portfolios/{one['gid']}/items", {}, one["gid"]))
        for one in sample:
            questions.append(("stories", f"/tasks/{one['gid']}/stories", {}, None))
            questions.append(("attachments", "/attachments", {"parent": one["gid"]}, None))
            questions.append(("tasks", f"/tasks/{one['gid']}/subtasks", {}, None))
        for table, path, query, above in questions:
            query = {**query, "opt_fields": ",".join(self.resources[table])}
            for record in self.slices(path, query):
                gid = json.loads(record)["gid"]
                key = f"{above}/{gid}" if above else gid
                kept = raws[table].get(key)
                hold(kept == record, f"{table}, row {key}: _raw is not what Asana answers:\n{kept}\n{record}")
                compared += 1
        return compared

    def slices(self, path, query):
        """The records of an answer, each as the bytes it came in."""
        decoder, query = json.JSONDecoder(), dict(query)
        if not path.startswith("/workspaces/") or path.count("/") > 2:
            query["limit"] = 100
        while True:
            answer = self.world.ask(path, query)
            hold(answer.status == 200, f"GET {path} answers {answer.status}")
            text = answer.body.decode()
            whole = answer.json
            at = text.index('"data":') + len('"data":')
            if isinstance(whole["data"], dict):
                yield text[at : decoder.raw_decode(text, at)[1]]
                return
            at += 1
            for _ in whole["data"]:
                while text[at] in ", \n":
                    at += 1
                end = decoder.raw_decode(text, at)[1]
                yield text[at:end]
                at = end
            if not whole.get("next_page"):
                return
            query["offset"] = whole["next_page"]["offset"]

    def filters(self, state):
        """A filter leaves the rows it must, whatever bounds a reader goes by."""
        tasks = state.tables["tasks"].append_column("_key", state.keys["tasks"])
        stories = state.tables["stories"].append_column("_key", state.keys["stories"])
        long = [name for name in tasks["name"].to_pylist() if len(name.encode()) > 64]
        hold(long, "the simulated organization has no task with a name of more than 64 bytes")
        texts = [text for text in stories["text"].to_pylist() if text and len(text.encode()) > 64]
        hold(texts, "the simulated organization has no story with a text of more than 64 bytes")
        keys, moments = sorted(tasks["_key"].to_pylist()), sorted(tasks["created_at"].to_pylist())
        middle, later = moments[len(moments) // 2], moments[len(moments) * 3 // 4]
        questions = [
            ("tasks", tasks, [("gid", "=", keys[len(keys) // 3])]),
            ("tasks", tasks, [("gid", "=", "1")]),
            ("tasks", tasks, [("_key", ">=", keys[len(keys) // 4]), ("_key", "<", keys[len(keys) // 2])]),
            ("tasks", tasks, [("completed", "=", True)]),
            ("tasks", tasks, [("completed", "=", False), ("created_at", ">=", middle)]),
            ("tasks", tasks, [("created_at", ">=", middle), ("created_at", "<", later)]),
            ("tasks", tasks, [("name", "=", min(long))]),
            ("tasks", tasks, [("name", "=", max(long))]),
            ("tasks", tasks, [("name", ">=", sorted(long)[len(long) // 2])]),
            ("tasks", tasks, [("num_likes", ">=", 1)]),
            ("stories", stories, [("text", "=", max(texts, key=len))]),
            ("stories", stories, [("text", "=", max(texts))]),
            ("stories", stories, [("resource_subtype", "=", "comment_added"), ("created_at", ">=", middle)]),
            ("stories", stories, [("_parent", "=", state.truth["stories"][7]["target"]["gid"])]),
        ]
        for table, rows, where in questions:
            right = self.meant(rows, where, state)
            for reader in self.readers:
                found = reader.keys(table, where)
                told = " and ".join(f"{column} {operator} {str(value)[:80]!r}" for column, operator, value in where)
                hold(
                    found == right,
                    f"snapshot {state.number}, {table}, {reader.name} where {told}: {len(found)} rows, not {len(right)}",
                )
        return len(questions)

    @staticmethod
    def meant(rows, where, state):
        """The keys a filter must leave, found without one."""
        compare = {"=": pc.equal, ">=": pc.greater_equal, "<": pc.less}
        if where[0][0] == "_parent":
            return {story["gid"] for story in state.truth["stories"] if story["target"]["gid"] == where[0][2]}
        for column, operator, value in where:
            scalar = pa.scalar(value, rows[column].type)
            if operator != "=" and rows[column].type == pa.string():
                # By code points, as both readers compare text.
                keep = pa.array(
                    [
                        (
                            one is not None and one.encode() >= value.encode()
                            if operator == ">="
                            else one is not None and one.encode() < value.encode()
                        )
                        for one in rows[column].to_pylist()
                    ]
                )
            else:
                keep = compare[operator](rows[column], scalar)
            rows = rows.filter(keep)
        return set(rows["_key"].to_pylist())

    # -- a run that is killed ----------------------------------------------------------------------------------------

    def killed(self, state, raws, when, reached):
        """A run that is killed leaves nothing that a reader takes for a snapshot. Gives what is true for readers now.

        Should the kill come too late, after the commit, then that snapshot is whole.
        """
        snapshots, published = self.committed(), self.published()
        process = start_program(["run", "--full"], self.environment)
        try:
            until = time.monotonic() + 10 * PATIENCE
            while not reached():
                hold(process.poll() is None, f"the run ended before it could be killed {when}: {process.returncode}")
                hold(time.monotonic() < until, f"the run never came to be killed {when}")
                select.select([], [], [], 0.002)
            process.kill()
            process.wait()
        finally:
            process.stderr.close()
            stop(process)
        committed = self.committed() - snapshots
        if committed:
            whole = State(self.latest(), self.truth())
            hold(whole.number == state.number + 1, f"killed {when}, the run left {sorted(committed)}")
            self.compare(whole, hint=False)
            return whole, self.system(whole, raws)
        hold(self.published() == published, f"killed {when}, the run changed what readers go by")
        self.compare(state)
        return state, raws


def _ordered(table):
    """The rows of a system table in an order of their own."""
    rows = table.to_pylist()
    return sorted(rows, key=lambda row: [str(value).zfill(20) for value in row.values()])


def _lacks(snapshot):
    return {name: table["proof"]["lacks"] for name, table in snapshot["tables"].items() if table["proof"]["lacks"]}


def _tree(paths):
    tree = {}
    for path in paths:
        level = tree
        for name in path.split("."):
            level = level.setdefault(name, {})
    return tree


def _people(value):
    """The gids of all people that a record, or many, refer to."""
    if isinstance(value, list):
        return set().union(*map(_people, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(_people, value.values()))
    return found | {value["gid"]} if value.get("resource_type") == "user" else found


def _agrees(where, raw, truth, tree):
    """What was kept is the truth as far as it was asked for, and nothing else."""
    if isinstance(truth, list) and isinstance(raw, list):
        hold(len(raw) == len(truth), f"{where}: _raw has {len(raw)} elements, in truth {len(truth)}")
        for one, other in zip(raw, truth):
            _agrees(where, one, other, tree)
    elif isinstance(truth, dict) and isinstance(raw, dict) and tree:
        for name in raw.keys() - tree.keys() - {"gid"}:
            hold(False, f"{where}: _raw has {name}, which was not asked for")
        for name in tree.keys() & truth.keys():
            hold(name in raw, f"{where}: _raw lacks {name}")
        # The truth names other records by their compact form; what else was asked of them is not in it.
        for name in raw.keys() & truth.keys():
            _agrees(f"{where}.{name}", raw[name], truth[name], tree.get(name))
    else:
        hold(raw == truth, f"{where}: _raw says {raw!r}, in truth {truth!r}")


def live_a_little(world):
    """Edits of all kinds, renames of users, projects, tags and options of enums among them."""
    done, kinds = 0, set()
    while done < 400 or not kinds.issuperset(RENAMES):
        kinds.update(edit["kind"] for edit in world.advance(100))
        done += 100
        hold(done < 20_000, f"the simulated organization never has {set(RENAMES) - kinds}")
    return done


def requests(world):
    return sum(world.control("/requests")["operations"].values())


def equal_digests(place):
    """Two repositories of one organization, made one after the other, have the same digests."""
    digests = []
    for number in (1, 2):
        below = place / f"fresh-{number}"
        below.mkdir()
        with simulator("300", seed=11, more=("--search-lag", "0")) as world:
            proof = Proof(world, Store(str(below / "repository")), below)
            snapshot = proof.run().snapshot
            found = {}
            for table in TABLES:
                rows = proof.readers[0].query(
                    f"SELECT _key, _hash FROM {proof.readers[0].source(table, snapshot['tables'][table]['metadata'])}"
                )
                found[table] = dict(zip(rows["_key"].to_pylist(), rows["_hash"].to_pylist()))
            digests.append(found)
    for table in TABLES:
        hold(
            digests[0][table] == digests[1][table],
            f"{table}: two fresh repositories of one organization have different _hash",
        )


def prove(place, store):
    with simulator(SIZE, more=("--search-lag", "0", "--event-delay", "0")) as world:
        proof = Proof(world, store, place)
        said = []

        first = proof.run()
        hold(first.number == 1, f"the first snapshot is number {first.number}")
        proof.compare(first)
        raws = proof.system(first)
        proof.own(first, None, raws)
        same_bytes = proof.byte_for_byte(first, raws)
        filters = proof.filters(first)

        edits = live_a_little(world)
        second = proof.run()
        hold(second.number == 2, f"the second snapshot is number {second.number}")
        proof.compare(second)
        proof.travel(first, second)
        graves = proof.own(second, first, raws)
        hold(graves, "400 edits delete nothing")
        raws = proof.system(second, raws)
        filters += proof.filters(second)
        said.append(f"{edits} edits between two snapshots")

        live_a_little(world)
        before = requests(world)
        last, raws = proof.killed(second, raws, "while it read", lambda: requests(world) > before + 200)
        hold(last is second, "a run that had hardly begun to read left a snapshot")
        parts = proof.parts()
        last, raws = proof.killed(second, raws, "when its first part was there", lambda: proof.parts() - parts)
        third = proof.run()
        hold(third.number == last.number + 1, f"after snapshot {last.number} comes number {third.number}")
        proof.compare(third)
        proof.travel(last, third)
        raws = proof.system(third, raws)
        said.append("two killed runs")

        parts = proof.parts()
        fourth = proof.run()
        hold(proof.parts() == parts, f"nothing changed, and a run added {len(proof.parts() - parts)} parts")
        proof.compare(fourth)
        raws = proof.system(fourth, raws)

        tasks = [task["assignee"]["gid"] for task in fourth.truth["tasks"] if task["assignee"]]
        user = max((user["gid"] for user in fourth.truth["users"]), key=tasks.count)
        world.edit("rename_user", user, "Somebody Else Entirely")
        fifth = proof.run()
        run, rewritten, differs = fifth.snapshot["run"], {}, {}
        for table in TABLES:
            rows = proof.readers[0].read(table).filter(pc.field("_run") == run)["_key"].to_pylist()
            rewritten.update({table: sorted(rows)} if rows else {})
            rows = changed(table, fourth, fifth)
            differs.update({table: rows} if rows else {})
        hold(differs.get("users") == [user], f"a new name changes one user, in truth: {_short(differs)}")
        # Texts of stories may say a name; nothing else does.
        hold(set(differs) <= {"users", "stories"}, f"a new name changes other tables, in truth: {_short(differs)}")
        hold(
            rewritten == differs,
            f"one user of {tasks.count(user)} tasks got a new name: rows written again {_short(rewritten)}, not {_short(differs)}",
        )
        proof.compare(fifth)
        raws = proof.system(fifth, raws)

        # Records that no other names, since what others say of them no event tells.
        above = {task["parent"]["gid"] for task in fifth.truth["tasks"] if task["parent"]}
        alone = [task["gid"] for task in fifth.truth["tasks"] if task["gid"] not in above]
        renamed, talked = alone[3], alone[-3]
        world.edit("rename_task", renamed, "A Name of Today")
        world.edit("comment", talked, "a word")
        sixth = proof.run("--output", "json")
        sent = sum(sixth.snapshot["requests"].values())
        hold(0 < sent <= FEW, f"two edits cost {sent} requests")
        proof.compare(sixth)
        proof.own(sixth, fifth, raws)
        raws = proof.system(sixth, raws)
        proof.travel(fifth, sixth)
        said.append(f"{sent} requests over two edits")

    equal_digests(place)
    rows = sum(len(records) for records in first.truth.values())
    return (
        f"{rows} rows in {len(TABLES)} tables, {', '.join(said)}: {proof.readings} readings of {proof.rows} rows by DuckDB and"
        f" PyIceberg are the truth in every column; {same_bytes} records byte for byte; {filters} filters"
    )


def changed(table, one, other):
    """The keys whose columns are not what they were."""
    before = dict(zip(one.keys[table].to_pylist(), one.tables[table].to_pylist()))
    after = dict(zip(other.keys[table].to_pylist(), other.tables[table].to_pylist()))
    return sorted(key for key in after if before.get(key) != after[key])


def _short(rewritten):
    return {table: f"{len(keys)} rows, {keys[:5]}" for table, keys in rewritten.items()}


def check():
    kind = sys.argv[1] if len(sys.argv) > 1 else ""
    hold(kind in ("local", "s3"), "usage: readback.py local|s3")
    with folder() as place:
        if kind == "local":
            return prove(place, Store(str(place / "repository")))
        with seaweed(place) as store:
            return prove(place, store)


if __name__ == "__main__":
    run_check(check)
