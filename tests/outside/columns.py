"""Holds what the program asks Asana for to Asana's own description.

Of every table each documented field is asked for, or left out with a reason; and nothing undocumented is asked for.
So a field that Asana adds to the OpenAPI file (ASANA_OAS) fails this check until somebody has decided about it.
"""

import json

from description import record
from world import TABLES, hold, run_check, run_program

RECORDS = {
    "workspaces": "WorkspaceResponse",
    "users": "UserResponse",
    "workspace_memberships": "WorkspaceMembershipResponse",
    "teams": "TeamResponse",
    "team_memberships": "TeamMembershipResponse",
    "custom_fields": "CustomFieldResponse",
    "tags": "TagResponse",
    "projects": "ProjectResponse",
    "custom_field_settings": "CustomFieldSettingResponse",
    "sections": "SectionResponse",
    "portfolios": "PortfolioResponse",
    # What is in a portfolio is answered as the projects' own compact records.
    "portfolio_items": "ProjectCompact",
    "tasks": "TaskResponse",
    "stories": "StoryResponse",
    "attachments": "AttachmentResponse",
}

SECRET = {
    "users": ["photo"],
    "attachments": ["download_url", "view_url"],
}
"""Signed URLs: secrets, and different on every read."""

ALL_THE_SAME = {
    "custom_fields": (
        ("users", "projects", "portfolios"),
        ("html_text_value", "people_value", "reference_value"),
    )
}
"""Values of custom fields that the file documents on tasks and forgets on other records, where it says compact fields:
asked for all the same, since an unknown name does no harm and a value that is not asked for is lost."""


def asked_all_the_same(table, path):
    """Whether a field that is not documented there is asked for on purpose."""
    within, _, rest = path.partition(".")
    tables, names = ALL_THE_SAME.get(within, ((), ()))
    return table in tables and rest.split(".")[0] in names


def above(path):
    """A path and everything it is part of."""
    names = path.split(".")
    return {".".join(names[:end]) for end in range(1, len(names) + 1)}


def check_table(table, asked, never):
    """What is wrong with one table, line by line."""
    fields = record(RECORDS[table])
    reached = set().union(*map(above, asked)) if asked else set()
    for path in asked:
        field = fields.at(path)
        if field is None:
            if not asked_all_the_same(table, path):
                yield f"{table}: asks for {path}, which Asana does not document"
        elif field.children:
            yield f"{table}: asks for {path} as a whole; what comes is then up to Asana"
    for path, reason in never.items():
        if fields.at(path) is None:
            yield f"{table}: leaves out {path}, which Asana does not document"
        if len(reason.split()) < 3:
            yield f"{table}: leaves out {path} without a reason"
        if path in asked:
            yield f"{table}: asks for {path} and leaves it out"
    for path in fields.leaves():
        if path in asked or above(path) & never.keys():
            continue
        # The gid of a record and of whatever is asked for inside of it comes unasked.
        parent, _, name = path.rpartition(".")
        if name == "gid" and (not parent or parent in reached):
            continue
        yield f"{table}: {path} is documented, neither asked for nor left out with a reason"
    for path in SECRET.get(table, []):
        if path in reached:
            yield f"{table}: asks for {path}, which may be signed"


def check():
    printed = run_program(["resources", "--output", "json"], {})
    resources = [json.loads(line) for line in printed.splitlines() if line.strip()]
    found = [resource["table"] for resource in resources]
    hold(sorted(found) == sorted(TABLES), f"the tables are {sorted(TABLES)}, the program has {sorted(found)}")
    wrong, asked, left = [], 0, 0
    for resource in resources:
        fields = set(resource["record_fields"])
        hold(len(fields) == len(resource["record_fields"]), f"{resource['table']}: a field is asked for twice")
        asked += len(fields)
        left += len(resource["never"])
        wrong += check_table(resource["table"], fields, resource["never"])
    for line in wrong:
        print(f"  {line}")
    hold(not wrong, f"what is asked for differs from Asana's own description in {len(wrong)} places, listed above")
    documented = sum(len(list(record(RECORDS[table]).leaves())) for table in TABLES)
    return (
        f"{len(resources)} tables: of {documented} documented fields {asked} are asked for, the rest comes unasked or is"
        f" left out for {left} reasons"
    )


if __name__ == "__main__":
    run_check(check)
