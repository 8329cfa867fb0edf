"""Holds the simulated Asana to Asana's own description of its API.

Every operation the simulator serves is asked in every form a reader uses: without `opt_fields`, with all of them, with
one, with unknown ones, page by page, and wrongly. Each answer is validated by openapi-core against the OpenAPI file
that ASANA_OAS names, and then for what a schema cannot say: that nothing is undocumented, nothing asked for is missing,
and nothing opt-in comes unasked.
"""

import copy
import re
import sys
from collections import Counter, defaultdict

from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse

import description
from description import BASE, SERVER, asked_tree, full_name, merged, record
from world import TOKEN, hold, run_check, simulator

SERVED = """
getWorkspaces getWorkspace getUsers getUser getUsersForWorkspace getUsersForTeam getUserForWorkspace
getWorkspaceMembershipsForWorkspace getWorkspaceMembershipsForUser getWorkspaceMembership getTeamsForWorkspace
getTeamsForUser getTeam getTeamMemberships getTeamMembership getTeamMembershipsForTeam getTeamMembershipsForUser
getProjects getProject getProjectsForWorkspace getProjectsForTeam getSectionsForProject getSection getTasksForProject
getTasksForSection getTasksForTag getTasks getTask getSubtasksForTask getDependenciesForTask getDependentsForTask
getProjectsForTask getTagsForTask getStoriesForTask getStory getAttachmentsForObject getAttachment getTags
getTagsForWorkspace getTag getCustomFieldsForWorkspace getCustomField getCustomFieldSettingsForProject
getTaskCountsForProject getPortfolios getPortfolio getItemsForPortfolio getUserTaskListForUser getUserTaskList
getTasksForUserTaskList searchTasksForWorkspace
""".split()
EVENTS = "getEvents getWorkspaceEvents".split()
"""The operations that need a sync token, and edits after it."""

# What the file leaves out. Each entry: operation (or *), status, reason.
UNDOCUMENTED_STATUSES = [
    ("*", 429, "the rate limits page has it, the file nowhere"),
    ("*", 412, "a sync token that is missing or expired; the file has it for /events only"),
    ("getWorkspaceMembershipsForWorkspace", 400, "the file has nothing but 200 for this operation"),
    ("getWorkspaceMembershipsForWorkspace", 401, "the file has nothing but 200 for this operation"),
    ("getWorkspaceMembershipsForWorkspace", 403, "the file has nothing but 200 for this operation"),
    ("getWorkspaceMembershipsForWorkspace", 404, "the file has nothing but 200 for this operation"),
    ("getWorkspaceEvents", 402, "a workspace without its events"),
    ("searchTasksForWorkspace", 402, "a workspace without search; the text of the operation has it"),
]

# Fields that may be absent although the file does not mark them so: the end of the path, when, and why.
ABSENT_AT_TIMES = [
    ("assignee_section", lambda value: True, "only if the request was sent by the user who is the assignee"),
    ("format", lambda value: value.get("resource_subtype") != "number", "only a number has a format"),
    ("currency_code", lambda value: value.get("resource_subtype") != "number", "only a number has a currency"),
    ("custom_label", lambda value: value.get("resource_subtype") != "number", "only a number has a label"),
    ("display_value", lambda value: "number_value" not in value, "a definition of a custom field has no value"),
    ("due_on", lambda value: not value.get("due_on"), "the dates of a story may be none, and its schema has no null"),
    ("date_time", lambda value: True, "text says null, schema does not: what is meant is not known"),
    ("sticker_name", lambda value: True, "text says null, schema does not: what is meant is not known"),
]
# Fields whose text says null where the schema does not.
NULL_IN_WORDS = ("date_value.date_time", "sticker_name")
# Fields of events that the file calls null or absent in words alone, and names of what has none or is gone.
NULL_IN_EVENTS = {"EventResponse.user", "EventResponse.parent"}
ABSENT_IN_EVENTS = {
    "EventResponse.resource.name",
    "EventResponse.parent.name",
    "EventResponse.change",
    "EventResponse.change.new_value",
    "EventResponse.change.added_value",
    "EventResponse.change.removed_value",
}
# Fields that the file says in words come only when named, without its usual mark [Opt In].
OPT_IN_IN_WORDS = {
    "TaskResponse.assigned_by": "only returned when requesting it via opt_fields",
    **{
        f"TaskCountResponse.{name}": "all fields are excluded by default"
        for name in record("TaskCountResponse").children
    },
}
# References whose schema names one type although others are meant: what is not of that type lacks some of its fields.
OTHER_TYPES = {
    "AttachmentResponse.parent": "a task, a project or a project brief",
    "CustomFieldSettingResponse.parent": "a project or a portfolio",
}
# Fields that no answer can have, and why.
NEVER_ANSWERED = [
    (
        r"(CustomField|CustomFieldSetting|Project|Portfolio|Team|Story)Response\.(custom_field_settings\.)?(custom_field\.)?"
        r"(date|enum|number|text|html_text|people|reference|display)_value",
        "a definition of a custom field has no value",
    ),
    (
        r"(CustomField|CustomFieldSetting|Project|Portfolio|Team|Story)Response\.(custom_field_settings\.)?(custom_field\.)?"
        r"multi_enum_values",
        "a definition of a custom field has no value",
    ),
    (
        r"(CustomField|CustomFieldSetting|Project|Portfolio|Team)Response\.(custom_field_settings\.)?(custom_field\.)?enabled",
        "the file: not available for custom field definitions",
    ),
]

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "object": dict}

SOME = 5
"""How many records or parents of a kind each form is tried on."""
MANY = 120
"""How many of them are looked through for fields."""


class Findings:
    """What is wrong, each kind of it once: how often, where first, and an example."""

    def __init__(self):
        self.counts, self.first = Counter(), {}

    def add(self, operation, form, where, what, example=""):
        # Positions in lists are no news.
        key = (re.sub(r"\[\d+\]", "", where), what)
        self.counts[key] += 1
        self.first.setdefault(key, (operation, form, example))

    def lines(self):
        for (where, what), count in sorted(self.counts.items()):
            operation, form, example = self.first[where, what]
            example = f", as {example}" if example else ""
            yield f"{where or 'answer'}: {what} ({count} times, first in {operation}, {form}{example})"


def as_meant(node):
    """The file by what it means, where its letter allows no null although it says `nullable`.

    That is "all of something, and nullable", and an enum that is nullable and does not list null.
    """
    if isinstance(node, dict):
        if "allOf" in node:
            whole = merged(node)
            if whole.get("nullable"):
                node = {key: value for key, value in whole.items() if key != "allOf"}
                node.setdefault("type", "object")
        if node.get("nullable") is True and isinstance(node.get("enum"), list) and None not in node["enum"]:
            node = {**node, "enum": [*node["enum"], None]}
        return {key: as_meant(value) for key, value in node.items()}
    if isinstance(node, list):
        return [as_meant(value) for value in node]
    return node


class Validator:
    """openapi-core over the file, and over the file with full records in its lists: what `opt_fields` brings."""

    def __init__(self):
        document = as_meant(description.document())
        self.plain = self.app(document)
        document = copy.copy(document)
        document["paths"] = copy.deepcopy(document["paths"])
        for item in document["paths"].values():
            answers = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
            schema = answers.get("application/json", {}).get("schema", {})
            items = schema.get("properties", {}).get("data", {}).get("items", {})
            if "$ref" in items:
                head, name = items["$ref"].rsplit("/", 1)
                items["$ref"] = f"{head}/{full_name(name)}"
        self.full = self.app(document)

    @staticmethod
    def app(document):
        return OpenAPI.from_dict(document, config=Config(spec_validator_cls=None))

    def errors(self, operation, arguments, query, answer, full):
        """What openapi-core has against an answer."""
        request = MockRequest(
            SERVER,
            "get",
            BASE + operation.path.format(**arguments),
            path_pattern=BASE + operation.path,
            view_args=arguments,
            args=query,
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        content_type = next((value for name, value in answer.headers.items() if name.lower() == "content-type"), "")
        response = MockResponse(answer.body, answer.status, dict(answer.headers), content_type)
        try:
            (self.full if full else self.plain).validate_response(request, response)
        except Exception as refused:  # whatever it raises is its verdict
            cause = refused.__cause__ or refused
            inner = getattr(cause, "schema_errors", None)
            if inner:
                for error in inner:
                    yield _place(error.path), error.message.replace(repr(error.instance), "it")
            else:
                yield "", f"{type(refused).__name__}: {refused} {cause}"[:300]


class Conformance:
    """The checks, and what they found."""

    def __init__(self, world):
        self.world = world
        self.validator = Validator()
        self.findings = Findings()
        self.operations = {name: description.operations()[name] for name in SERVED + EVENTS}
        self.done = defaultdict(Counter)
        self.seen = defaultdict(lambda: defaultdict(set))
        self.records = 0
        self.offsets = {}

    # -- one request -------------------------------------------------------------------------------------------------

    def ask(self, operation, subject, form, status=200, more=None, full=False, validate=True, token=None, headers=None):
        """Sends one request, and holds the answer to the file."""
        arguments, query = subject
        query = {**query, **(more or {})}
        answer = self.world.ask(operation.path.format(**arguments), query, token, headers)
        self.done[operation.id][form] += 1
        if answer.status != status:
            self.findings.add(
                operation.id, form, "", f"answers {answer.status}, not {status}", f"{query} {answer.body[:120]!r}"
            )
            return None
        documented = str(answer.status) in operation.statuses
        if not documented and not any(
            name in ("*", operation.id) and allowed == answer.status for name, allowed, _ in UNDOCUMENTED_STATUSES
        ):
            self.findings.add(operation.id, form, "", f"status {answer.status} is not documented")
        if documented and validate:
            for where, error in self.validator.errors(operation, arguments, query, answer, full):
                if operation.id in EVENTS and re.fullmatch(r"\.data\[\d+\]\.(user|parent)", where):
                    continue
                if where.endswith(NULL_IN_WORDS) and error.startswith(("None ", "it is not")):
                    continue
                self.findings.add(operation.id, form, where, f"openapi-core: {error[:160]}")
        try:
            body = answer.json
        except ValueError:
            self.findings.add(operation.id, form, "", "the body is no JSON", repr(answer.body[:80]))
            return None
        if status == 200:
            self.envelope(operation, form, body, query)
        else:
            self.error_body(operation, form, body)
        return body

    def envelope(self, operation, form, body, query):
        for name in set(body) - operation.envelope:
            self.findings.add(operation.id, form, name, "undocumented beside `data`")
        for name in operation.envelope - set(body) - {"data", "next_page"}:
            self.findings.add(operation.id, form, name, "missing beside `data`")
        if "data" not in body:
            self.findings.add(operation.id, form, "data", "missing")
        elif operation.is_list != isinstance(body["data"], list):
            self.findings.add(operation.id, form, "data", "a list where a record is documented, or the other way round")
        if operation.takes_limit and "limit" in query and "next_page" not in body:
            self.findings.add(operation.id, form, "next_page", "missing although `limit` was given")

    def error_body(self, operation, form, body):
        errors = body.get("errors")
        if set(body) - {"errors", "sync"} or not isinstance(errors, list) or not errors:
            self.findings.add(operation.id, form, "", f"an error body is {{errors: [...]}}, not {str(body)[:100]}")
            return
        if "sync" in body:
            if set(errors[0]) != {"message"} or not isinstance(body["sync"], str):
                self.findings.add(operation.id, form, "errors", f"a 412 has a message and a token: {str(body)[:100]}")
            return
        for error in errors:
            if not error.get("message") or not error.get("help") or set(error) - {"message", "help", "phrase"}:
                self.findings.add(operation.id, form, "errors", f"an error has message and help: {error}")

    # -- records -----------------------------------------------------------------------------------------------------

    def examine(self, operation, form, value, field, name, asked, where):
        """Holds a value to its field. `asked` is what `opt_fields` names of it; None where nothing was asked."""

        def wrong(what, example=""):
            self.findings.add(operation.id, form, f"{name}.{where}", what, str(example)[:120])

        documented = f"{name}.{field.path}" if field.path else name
        if value is None:
            in_words = field.path.endswith(NULL_IN_WORDS) or documented in NULL_IN_EVENTS
            if not field.nullable and not in_words:
                wrong("null, which is not documented")
            return
        if field.many and where:
            if not isinstance(value, list):
                wrong("no list", value)
                return
            values = value
        else:
            values = [value]
        if field.path and values:
            self.seen[name][field.path].add("value")
        for place, one in enumerate(values):
            here = f"{where}[{place}]" if field.many and where else where
            if field.children:
                if isinstance(one, dict):
                    self.examine_object(operation, form, one, field, name, asked, here)
                else:
                    wrong("no object", one)
                continue
            kind = TYPES.get(field.type, object)
            if not isinstance(one, kind) or (isinstance(one, bool) and field.type != "boolean"):
                wrong(f"no {field.type}", one)
            elif field.format == "date-time" and not MOMENT.fullmatch(one):
                wrong("not written like 2012-02-22T02:06:58.147Z", one)
            elif field.format == "date" and not DAY.fullmatch(one):
                wrong("not written like 2012-02-22", one)
            elif field.enum and one not in field.enum:
                wrong(f"not one of {field.enum[:8]}", one)
            elif (
                documented.endswith(".gid")
                and documented != "TaskResponse.external.gid"
                and not re.fullmatch(r"\d+", one)
            ):
                wrong("a gid is a string of digits", one)

    def examine_object(self, operation, form, value, field, name, asked, where):
        def wrong(place, what):
            self.findings.add(operation.id, form, f"{name}.{where}.{place}" if where else f"{name}.{place}", what)

        def opt_in(child):
            return child.opt_in or f"{name}.{child.path}" in OPT_IN_IN_WORDS

        other_type = f"{name}.{field.path}" in OTHER_TYPES and value.get("resource_type") != field.resource_type

        def conditional(child):
            last = child.path.rpartition(".")[2]
            absent = any(end == last and when(value) for end, when, _ in ABSENT_AT_TIMES)
            return child.conditional or absent or other_type or f"{name}.{child.path}" in ABSENT_IN_EVENTS

        unasked = {below for below, child in field.children.items() if not opt_in(child)}
        if asked is None:
            allowed, required = unasked, {below for below in unasked if not conditional(field.children[below])}
        else:
            whole, below = asked
            named = {one for one in below if one in field.children}
            allowed = named | {"gid"} | (unasked if whole else set())
            required = {one for one in named if not conditional(field.children[one])}
            if whole:
                required |= {one for one in unasked if not conditional(field.children[one])}
            if "gid" in field.children and field.path.rsplit(".", 1)[-1] != "external":
                required.add("gid")
        for present, inner in value.items():
            child = field.children.get(present)
            if child is None:
                wrong(present, "undocumented")
                continue
            if present not in allowed:
                wrong(
                    present, "an opt-in field came unasked" if opt_in(child) and asked is None else "was not asked for"
                )
            if child.path:
                self.seen[name][child.path].add("present")
            inner_asked = None if asked is None else asked[1].get(present, (True, {}))
            self.examine(operation, form, inner, child, name, inner_asked, f"{where}.{present}" if where else present)
        for missing in sorted(required - set(value)):
            wrong(missing, "missing")

    def examine_records(self, operation, form, body, paths):
        """Holds the records of an answer to the file: those of `opt_fields`, or of the default form."""
        if body is None or "data" not in body:
            return
        name = operation.record_name if paths is None else full_name(operation.record_name)
        field = record(name)
        asked = None if paths is None else (False, asked_tree(paths))
        for one in body["data"] if operation.is_list else [body["data"]]:
            self.records += 1
            self.examine(operation, form, one, field, name, asked, "")
            if one.get("resource_type") not in (None, field.resource_type):
                self.findings.add(
                    operation.id, form, "resource_type", f"{one['resource_type']}, not {field.resource_type}"
                )

    # -- forms -------------------------------------------------------------------------------------------------------

    def forms(self, operation, subjects):
        """Every form of a good request."""
        documented = operation.opt_fields
        everything = list(record(full_name(operation.record_name)).leaves())
        limit = {"limit": 100} if operation.takes_limit else {}
        for place, subject in enumerate(subjects):
            few = place < SOME
            if few:
                body = self.ask(operation, subject, "without opt_fields", more=limit)
                self.examine_records(operation, "without opt_fields", body, None)
            if few and documented:
                body = self.ask(
                    operation,
                    subject,
                    "every documented opt_field",
                    more={**limit, "opt_fields": ",".join(documented)},
                    full=True,
                )
                self.examine_records(operation, "every documented opt_field", body, documented)
            body = self.ask(
                operation,
                subject,
                "every field",
                more={**limit, "opt_fields": ",".join(everything)},
                full=True,
                validate=few,
            )
            self.examine_records(operation, "every field", body, everything)
            if place < 2:
                self.one_field(operation, subject, limit)

    def one_field(self, operation, subject, limit):
        """One field brings that field and the gid; unknown names change nothing."""
        fields = record(full_name(operation.record_name)).children
        plain = [name for name, field in fields.items() if not field.children and not field.conditional]
        one = "name" if "name" in plain else next(name for name in plain if name not in ("gid", "resource_type"))
        body = self.ask(operation, subject, "one opt_field", more={**limit, "opt_fields": one}, full=True)
        self.examine_records(operation, "one opt_field", body, [one])
        unknown = f"no_such_field,{one},no_such.field,{one}.below"
        other = self.ask(operation, subject, "unknown opt_fields", more={**limit, "opt_fields": unknown}, full=True)
        if body and other and body.get("data") != other.get("data"):
            self.findings.add(
                operation.id, "unknown opt_fields", "", f"`opt_fields={unknown}` is not `opt_fields={one}`"
            )

    def pages(self, operation, subjects):
        """Page by page comes what comes at once; every page says where the next one is."""
        for subject in subjects[:SOME]:
            whole = self.ask(operation, subject, "one page", more={"limit": 100})
            if not whole or len(whole["data"]) < 3:
                continue
            form, gathered, offset = "page by page", [], None
            limit = max(2, min(50, len(whole["data"]) // 3))
            for _ in range(1 + len(whole["data"]) // limit):
                more = {"limit": limit} if offset is None else {"limit": limit, "offset": offset}
                page = self.ask(operation, subject, form, more=more)
                if page is None:
                    break
                gathered += page["data"]
                after = page.get("next_page")
                if after is None:
                    break
                self.next_page(operation, form, subject, after, limit)
                offset = after["offset"]
                self.offsets.setdefault(operation.id, (offset, subject))
                if len(page["data"]) != limit:
                    self.findings.add(
                        operation.id, form, "data", f"{len(page['data'])} records on a page of {limit} with a next one"
                    )
            if whole.get("next_page") is None and gathered != whole["data"]:
                self.findings.add(
                    operation.id, form, "data", f"{len(gathered)} records page by page, {len(whole['data'])} at once"
                )
            elif gathered[: len(whole["data"])] != whole["data"][: len(gathered)]:
                self.findings.add(operation.id, form, "data", "other records page by page than at once")
            return

    def next_page(self, operation, form, subject, after, limit):
        if set(after) != {"offset", "path", "uri"}:
            self.findings.add(operation.id, form, "next_page", f"has {sorted(after)}, not offset, path and uri")
            return
        arguments, query = subject
        path = operation.path.format(**arguments)
        if not after["path"].startswith(path + "?") or f"limit={limit}" not in after["path"]:
            self.findings.add(operation.id, form, "next_page.path", f"does not lead to this list: {after['path']}")
        if not after["uri"].endswith(BASE + after["path"]):
            self.findings.add(operation.id, form, "next_page.uri", f"is not the path below the server: {after['uri']}")
        for name in query:
            if f"{name}=" not in after["path"]:
                self.findings.add(operation.id, form, "next_page.path", f"loses the parameter {name}")

    def wrong_requests(self, operation, subjects, unseen):
        """Requests that Asana refuses, and how."""
        subject = subjects[0]
        arguments, query = subject
        if operation.takes_limit:
            for limit in ("0", "101", "-1", "ten"):
                self.ask(operation, subject, "bad limit", 400, {"limit": limit})
            self.ask(operation, subject, "bad offset", 400, {"limit": 5, "offset": "no-such-offset"})
        self.ask(operation, subject, "no token", 401, headers={"Authorization": None})
        self.ask(operation, subject, "wrong token", 401, token="wrong")
        for name in operation.needs_query:
            rest = {key: value for key, value in query.items() if key != name}
            self.ask(operation, (arguments, rest), "missing parameter", 400)
        for name in arguments:
            for gid in ("1", "9999999999999999"):
                self.ask(operation, ({**arguments, name: gid}, query), "unknown gid", 404)
        for kind in unseen.get(operation.id, [])[:SOME]:
            self.ask(operation, kind, "may not be seen", 403, token=self.person)

    def foreign_offsets(self):
        """An offset belongs to its query: any other refuses it."""
        names = sorted(self.offsets)
        for place, name in enumerate(names):
            operation = self.operations[name]
            other = names[(place + 1) % len(names)]
            offset, _ = self.offsets[other]
            _, subject = self.offsets[name]
            self.ask(operation, subject, "offset of another operation", 400, {"limit": 2, "offset": offset})
            mine, _ = self.offsets[name]
            for arguments, query in self.subjects[name]:
                if (arguments, query) != subject:
                    self.ask(
                        operation, (arguments, query), "offset of another parent", 400, {"limit": 2, "offset": mine}
                    )
                    break

    # -- subjects ----------------------------------------------------------------------------------------------------

    def find_subjects(self):
        """What to ask each operation about: first what differs most, then more of the same."""
        world, organization = self.world, self.world.organization
        workspace = {"workspace": organization}

        def gids(records, *by):
            records = spread(records, lambda one: tuple(str(one.get(name)) for name in by)) if by else records
            return [one["gid"] for one in records][:MANY]

        users = gids(world.listed("/users", workspace))
        teams = gids(world.listed(f"/workspaces/{organization}/teams", {"opt_fields": "visibility"}), "visibility")
        projects = gids(
            world.listed(f"/workspaces/{organization}/projects", {"opt_fields": "privacy_setting,archived"})
        )
        tags = gids(world.listed(f"/workspaces/{organization}/tags"))
        kinds = "resource_subtype,representation_type,format"
        fields = gids(
            world.listed(f"/workspaces/{organization}/custom_fields", {"opt_fields": kinds}), *kinds.split(",")
        )
        portfolios = gids(world.listed("/portfolios", workspace))
        tasks, assigned = {}, []
        wanted = {
            "opt_fields": "resource_subtype,num_subtasks,tags,dependencies,dependents,parent,projects,custom_type"
        }
        tagged = Counter()
        for project in projects:
            for one in world.listed("/tasks", {"project": project, **wanted}):
                tasks[one["gid"]] = one
        for user in users:
            mine = world.listed("/tasks", {"assignee": user, **workspace, **wanted})
            assigned.append((len(mine), user))
            tasks.update((one["gid"], one) for one in mine)
        parents = [one for one in tasks.values() if one["num_subtasks"]]
        while parents:
            below = [one for parent in parents for one in world.listed(f"/tasks/{parent['gid']}/subtasks", wanted)]
            below = [one for one in below if one["gid"] not in tasks]
            tasks.update((one["gid"], one) for one in below)
            parents = [one for one in below if one["num_subtasks"]]
        tasks = list(tasks.values())
        for task in tasks:
            tagged.update(tag["gid"] for tag in task["tags"])

        def with_most(name):
            return gids(sorted((one for one in tasks if one[name]), key=lambda one: -_size(one[name])))

        task_gids = gids(tasks, "resource_subtype", "custom_type")
        stories = [
            one
            for task in task_gids
            for one in world.listed(f"/tasks/{task}/stories", {"opt_fields": "resource_subtype"})
        ]
        parents_of_files = [
            (gid, world.listed("/attachments", {"parent": gid, "opt_fields": "host,resource_subtype"}))
            for gid in [*task_gids, *projects]
        ]
        parents_of_files.sort(key=lambda found: -len(found[1]))
        files = [one for _, found in parents_of_files for one in found]
        sections = [(project, world.listed(f"/projects/{project}/sections")) for project in projects]
        memberships = gids(
            world.listed(
                f"/workspaces/{organization}/workspace_memberships", {"opt_fields": "is_active,is_guest,vacation_dates"}
            ),
            "is_active",
            "is_guest",
            "vacation_dates",
        )
        team_memberships = [(team, gids(world.listed(f"/teams/{team}/team_memberships"))) for team in teams]
        assigned.sort(reverse=True)
        workers = [user for _, user in assigned]
        lists = [world.data(f"/users/{user}/user_task_list", workspace)["gid"] for user in workers[:SOME]]
        counted = sorted(
            ((len(world.listed("/tasks", {"project": project})), project) for project in projects), reverse=True
        )
        busy = [project for _, project in counted]
        within = [one["gid"] for project in busy for one in dict(sections)[project]]

        def each(name, values, query=None):
            return [({name: value}, query or {}) for value in values]

        def asking(name, values, query=None):
            return [({}, {name: value, **(query or {})}) for value in values]

        everything = each("workspace_gid", [organization])
        self.subjects = {
            "getWorkspaces": [({}, {})],
            "getWorkspace": everything,
            "getUsers": asking("workspace", [organization]) + asking("team", teams),
            "getUser": each("user_gid", [*users, "me"]),
            "getUsersForWorkspace": everything,
            "getUsersForTeam": each("team_gid", teams),
            "getUserForWorkspace": [({"workspace_gid": organization, "user_gid": user}, {}) for user in users],
            "getWorkspaceMembershipsForWorkspace": everything,
            "getWorkspaceMembershipsForUser": each("user_gid", users),
            "getWorkspaceMembership": each("workspace_membership_gid", memberships),
            "getTeamsForWorkspace": everything,
            "getTeamsForUser": each("user_gid", users, {"organization": organization}),
            "getTeam": each("team_gid", teams),
            "getTeamMemberships": asking("team", teams) + asking("user", users, workspace),
            "getTeamMembership": each(
                "team_membership_gid", [one for _, found in team_memberships for one in found][:MANY]
            ),
            "getTeamMembershipsForTeam": each("team_gid", teams),
            "getTeamMembershipsForUser": each("user_gid", users, workspace),
            "getProjects": asking("workspace", [organization]) + asking("team", teams),
            "getProject": each("project_gid", projects),
            "getProjectsForWorkspace": everything,
            "getProjectsForTeam": each("team_gid", teams),
            "getSectionsForProject": each(
                "project_gid", [project for project, _ in sorted(sections, key=lambda found: -len(found[1]))]
            ),
            "getSection": each("section_gid", within[:MANY]),
            "getTasksForProject": each("project_gid", busy),
            "getTasksForSection": each("section_gid", within[:MANY]),
            "getTasksForTag": each("tag_gid", [tag for tag, _ in tagged.most_common()]),
            "getTasks": asking("project", busy[:2])
            + asking("section", within[:2])
            + asking("assignee", workers, workspace),
            "getTask": each("task_gid", task_gids),
            "getSubtasksForTask": each("task_gid", with_most("num_subtasks")),
            "getDependenciesForTask": each("task_gid", with_most("dependencies")),
            "getDependentsForTask": each("task_gid", with_most("dependents")),
            "getProjectsForTask": each("task_gid", with_most("projects")),
            "getTagsForTask": each("task_gid", with_most("tags")),
            "getStoriesForTask": each("task_gid", task_gids),
            "getStory": each("story_gid", gids(stories, "resource_subtype")),
            "getAttachmentsForObject": asking("parent", [gid for gid, found in parents_of_files if found][:MANY]),
            "getAttachment": each("attachment_gid", gids(files, "host", "resource_subtype")),
            "getTags": asking("workspace", [organization]),
            "getTagsForWorkspace": everything,
            "getTag": each("tag_gid", tags),
            "getCustomFieldsForWorkspace": everything,
            "getCustomField": each("custom_field_gid", fields),
            "getCustomFieldSettingsForProject": each("project_gid", projects),
            "getTaskCountsForProject": each("project_gid", projects),
            "getPortfolios": [({}, workspace)],
            "getPortfolio": each("portfolio_gid", portfolios),
            "getItemsForPortfolio": each("portfolio_gid", portfolios),
            "getUserTaskListForUser": each("user_gid", workers[:SOME], workspace),
            "getUserTaskList": each("user_task_list_gid", lists),
            "getTasksForUserTaskList": each("user_task_list_gid", lists),
            "searchTasksForWorkspace": [
                ({"workspace_gid": organization}, query)
                for query in (
                    {"sort_by": "modified_at", "sort_ascending": "true"},
                    {"completed": "true"},
                    {"is_subtask": "true", "limit": "100"},
                    {"modified_at.after": "2020-01-01T00:00:00.000Z", "sort_by": "created_at"},
                )
            ],
        }
        missing = sorted(name for name, found in self.subjects.items() if not found)
        hold(not missing, f"the simulated organization has nothing to ask these about: {missing}")

    def find_unseen(self):
        """What the service account sees and a person does not: asked for with the person's token, refused with 403."""
        organization = self.world.organization
        answer = self.world.ask(f"/workspaces/{organization}/projects", {"limit": 100}, self.person)
        hold(answer.status == 200, f"a person's token is answered {answer.status}: {answer.body[:200]!r}")
        seen = {one["gid"] for one in answer.json["data"]}
        hidden = [one for (one, _) in self.subjects["getProject"] if one["project_gid"] not in seen]
        gids = [one["project_gid"] for one in hidden]
        subjects = [({"project_gid": gid}, {}) for gid in gids]
        operations = "getProject getSectionsForProject getTasksForProject getTaskCountsForProject getCustomFieldSettingsForProject"
        return {name: subjects for name in operations.split()}

    def check(self):
        self.find_subjects()
        unseen = self.find_unseen() if self.person else {}
        for name in SERVED:
            operation, subjects = self.operations[name], self.subjects[name]
            self.forms(operation, subjects)
            if operation.takes_limit:
                self.pages(operation, subjects)
            self.wrong_requests(operation, subjects, unseen)
        self.foreign_offsets()
        if self.person:
            self.own_tasks()
        self.events(unseen)

    def events(self, unseen):
        """Streams of events: begun with 412, told in every form, gone through to their end, and refused."""
        projects = [subject["project_gid"] for subject, _ in self.subjects["getProject"]]
        tasks = [subject["task_gid"] for subject, _ in self.subjects["getTask"]]
        streams = [("getEvents", ({}, {"resource": gid})) for gid in [*projects, *tasks[:20]]]
        streams.append(("getWorkspaceEvents", self.subjects["getWorkspace"][0]))
        begun = []
        for name, subject in streams:
            body = self.ask(self.operations[name], subject, "no sync token", 412)
            begun.append((name, subject, body["sync"] if body else ""))
        for place in range(110):
            self.world.edit("rename_task", tasks[0], f"name {place}")
        self.world.advance(700)
        begun = [(name, subject, sync) for name, subject, sync in begun if self.is_there(subject)]
        for name in EVENTS:
            operation = self.operations[name]
            mine = [(arguments, {**query, "sync": sync}) for of, (arguments, query), sync in begun if of == name]
            self.forms(operation, mine)
            for subject in mine:
                self.whole_stream(operation, subject)
            hidden = [({}, {"resource": one["project_gid"]}) for one, _ in unseen.get("getProject", [])]
            unseen_here = {"getEvents": hidden, "getWorkspaceEvents": mine} if self.person else {}
            self.wrong_requests(operation, mine, unseen_here)
            self.ask(operation, mine[0], "sync token of nobody", 412, {"sync": "de4774f6915eae04714ca93bb2f5ee81"})
        other = [sync for name, _, sync in begun if name == "getWorkspaceEvents"]
        self.ask(self.operations["getEvents"], begun[0][1], "sync token of another stream", 412, {"sync": other[0]})
        for resource, status in (("1", 404), ("abc", 400)):
            self.ask(self.operations["getEvents"], ({}, {"resource": resource}), "unknown resource", status)

    def is_there(self, subject):
        """Whether the edits left the project or task whose stream it is."""
        gid = subject[1].get("resource")
        return not gid or any(self.world.ask(f"/{kind}/{gid}").status == 200 for kind in ("projects", "tasks"))

    def whole_stream(self, operation, subject):
        """A stream goes on from token to token to its end; what came before the last two tokens is refused."""
        arguments, query = subject
        form, most, sync = "token by token", 100 if operation.id == "getEvents" else 1000, query["sync"]
        for _ in range(100):
            body = self.ask(operation, (arguments, {**query, "sync": sync}), form)
            if body is None:
                return
            count, sync = len(body["data"]), body["sync"]
            if count > most or (body["has_more"] and count != most):
                self.findings.add(operation.id, form, "data", f"{count} events with has_more {body['has_more']}")
            if not body["has_more"]:
                break
        self.ask(operation, (arguments, {**query, "sync": sync}), "at the end")
        self.ask(operation, subject, "superseded sync token", 412)

    def own_tasks(self):
        """A person's own tasks, which alone say in which section of their list they are."""
        operation, fields = self.operations["getTask"], ["name", "assignee_section", "assignee_section.name"]
        query = {"assignee": "me", "workspace": self.world.organization, "limit": 20}
        mine = self.world.ask("/tasks", query, self.person).json["data"]
        for task in mine:
            subject = ({"task_gid": task["gid"]}, {})
            more = {"opt_fields": ",".join(fields)}
            body = self.ask(operation, subject, "by the assignee", more=more, full=True, token=self.person)
            self.examine_records(operation, "by the assignee", body, fields)

    def never_seen(self):
        """Documented fields of full records that no answer had."""
        names = sorted({full_name(operation.record_name) for operation in self.operations.values()})
        # Which kinds of custom fields a record has is up to people: it is enough to see each on some record.
        values = {path for name in names for path in self.seen[name] if path.startswith("custom_fields.")}
        for name in names:
            for field in record(name).walk():
                path = f"{name}.{field.path}"
                if field.path in self.seen[name] or field.path in values:
                    continue
                if any(re.fullmatch(never, path) for never, _ in NEVER_ANSWERED):
                    continue
                # Below what never was, one line is enough.
                above = field.path.rpartition(".")[0]
                if not above or "value" in self.seen[name].get(above, ()):
                    yield path

    def audit_log(self):
        """Nothing yet for the service account, and a refusal for anyone else."""
        operation = description.operations()["getAuditLogEvents"]
        subject = ({"workspace_gid": self.world.organization}, {})
        self.ask(operation, subject, "of nothing yet", more={"start_at": "2026-11-27T08:00:00Z", "limit": 1})
        self.ask(operation, subject, "by a person", 403, token=self.person)

    def refusals_without_events(self, status):
        """No events of the workspace on most plans; where there are none at all, none of a task either."""
        form, subject = "a plan without it", ({"workspace_gid": self.world.organization}, {})
        refused = self.world.ask(f"/workspaces/{self.world.organization}/events").status
        hold(refused in (402, 403), f"a workspace without events answers {refused}, neither 402 nor 403")
        self.ask(self.operations["getWorkspaceEvents"], subject, form, refused)
        task = self.world.truth("tasks")[0]["gid"]
        self.ask(self.operations["getEvents"], ({}, {"resource": task}), form, status)

    def refusals_of_a_free_plan(self):
        """No search, and fewer requests than a test sends: refused as Asana refuses it."""
        search, users = self.operations["searchTasksForWorkspace"], self.operations["getUsers"]
        organization = self.world.organization
        self.ask(search, ({"workspace_gid": organization}, {}), "on a free plan", 402)
        # Refused requests count as well: so many that the next one is refused even if it comes late.
        refused = 0
        for _ in range(300):
            answer = self.world.ask("/users", {"workspace": organization, "limit": 1})
            refused += answer.status != 200
            if refused == 20:
                break
        subject = ({}, {"workspace": organization, "limit": 1})
        self.ask(users, subject, "too many requests", 429)
        wait = {name.lower(): value for name, value in answer.headers.items()}.get("retry-after", "")
        if answer.status != 429 or not wait.isdigit():
            self.findings.add(
                "getUsers", "too many requests", "", f"{answer.status} with Retry-After `{wait}`, not 429 with seconds"
            )


def spread(records, key):
    """The records, one of each kind first."""
    kinds = defaultdict(list)
    for one in records:
        kinds[key(one)].append(one)
    piles = list(kinds.values())
    return [pile[place] for place in range(max(map(len, piles), default=0)) for pile in piles if place < len(pile)]


def _place(path):
    return "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in path)


def _size(value):
    return len(value) if isinstance(value, list) else value


def check():
    with simulator("tiny", more=("--person", f"{PERSON}=1", "--event-delay", "0")) as world:
        conformance = Conformance(world)
        conformance.person = PERSON
        conformance.check()
        conformance.audit_log()
    with simulator("tiny", more=("--free-plan", "--limits")) as world:
        conformance.world = world
        conformance.refusals_of_a_free_plan()
    for more, status in (("--no-workspace-events", 412), ("--no-events", 403)):
        with simulator("tiny", more=(more,)) as world:
            conformance.world = world
            conformance.refusals_without_events(status)
    findings, unseen = list(conformance.findings.lines()), list(conformance.never_seen())
    requests = sum(sum(forms.values()) for forms in conformance.done.values())
    forms = Counter()
    for name, done in conformance.done.items():
        forms.update(done.keys())
    if "-v" in sys.argv:
        for name, done in conformance.done.items():
            print(f"  {name}: " + ", ".join(f"{form} {count}" for form, count in done.items()))
    print("operations by form: " + ", ".join(f"{form} {count}" for form, count in forms.most_common()))
    for line in findings:
        print(f"  {line}")
    for path in unseen:
        print(f"  {path}: documented, and in no answer")
    wrong = len(findings) + len(unseen)
    hold(not wrong, f"the simulated Asana differs from Asana's own description in {wrong} places, listed above")
    return (
        f"{len(conformance.done)} operations in {len(forms)} forms, {requests} answers with {conformance.records} records:"
        " all as Asana describes them"
    )


PERSON = "token-of-a-person"

if __name__ == "__main__":
    run_check(check)
