"""What the tables must hold, worked out from Asana's records alone.

A second reading of Asana's description, beside the program's own: each table's columns, what a record's JSON becomes in
them, and the digest of its canonical form. Nothing of the program is used here.

Columns are written `name` and then what they hold: text, or `?` a truth value, `%` a whole number, `~` a number, `#` a
day, `@` a moment, `&` another record (its gid alone), `{...}` an object that is part of the record; `*` a list of those.
"""

import datetime
import hashlib
import json
import re
from decimal import Decimal

import pyarrow as pa

VALUES = """{gid resource_type number_value~ text_value html_text_value date_value{date# date_time@}
enum_value& multi_enum_values&* people_value&* reference_value&* display_value}*"""
LIKES = "hearted? hearts{gid user&}* num_hearts% liked? likes{gid user&}* num_likes%"
SETTINGS = "{gid resource_type is_important? custom_field& parent& project&}*"
DATES = "{start_on# due_at@ due_on#}"

COLUMNS = {
    "workspaces": "gid resource_type name email_domains* is_organization?",
    "users": f"gid resource_type name email workspaces&* custom_fields{VALUES}",
    "workspace_memberships": """gid resource_type user& workspace& user_task_list& is_active? is_admin? is_guest?
        is_view_only? vacation_dates{start_on# end_on#} created_at@""",
    "teams": f"""gid resource_type name description html_description organization& permalink_url visibility
        edit_team_name_or_description_access_level edit_team_visibility_or_trash_team_access_level
        member_invite_management_access_level guest_invite_management_access_level
        join_request_management_access_level team_member_removal_access_level team_content_management_access_level
        endorsed? custom_field_settings{SETTINGS}""",
    "team_memberships": "gid resource_type user& team& is_guest? is_limited_access? is_admin?",
    "custom_fields": """gid resource_type name type resource_subtype enum_options{gid resource_type name enabled? color}*
        enabled? representation_type id_prefix input_restrictions* is_formula_field? description precision% format
        currency_code custom_label custom_label_position is_global_to_workspace? has_notifications_enabled?
        asana_created_field is_value_read_only? created_by& privacy_setting default_access_level
        date_value{date# date_time@} enum_value& multi_enum_values&* number_value~ text_value html_text_value
        display_value people_value&* reference_value&*""",
    "tags": "gid resource_type name color notes created_at@ followers&* workspace& permalink_url",
    "projects": f"""gid resource_type name archived? color icon created_at@ current_status& current_status_update&
        default_view due_date# due_on# html_notes members&* modified_at@ notes public? privacy_setting start_on#
        default_access_level minimum_access_level_for_customization minimum_access_level_for_sharing
        custom_fields{VALUES} completed? completed_at@ completed_by& followers&* owner& team& permalink_url
        project_brief& created_from_template& workspace&""",
    "custom_field_settings": "gid resource_type project& is_important? parent& custom_field&",
    "sections": "gid resource_type name created_at@ project& projects&*",
    "portfolios": f"""gid resource_type name archived? color start_on# due_on# default_access_level created_at@ created_by&
        custom_field_settings{SETTINGS} current_status_update& custom_fields{VALUES} members&* owner& workspace&
        permalink_url public? privacy_setting project_templates&*""",
    "portfolio_items": "portfolio& gid resource_type",
    "tasks": f"""gid resource_type name resource_subtype created_by& approval_status assignee_status assigned_by&
        completed? completed_at@ completed_by& created_at@ dependencies&* dependents&* due_at@ due_on#
        external{{gid data}} html_notes {LIKES} is_rendered_as_separator? memberships{{project& section&}}* modified_at@
        notes num_subtasks% start_at@ start_on# actual_time_minutes~ assignee& assignee_section& custom_fields{VALUES}
        custom_type& custom_type_status_option& followers&* parent& projects&* tags&* workspace& permalink_url""",
    "stories": f"""gid resource_type created_at@ resource_subtype text html_text is_pinned? sticker_name created_by& type
        is_editable? is_edited? {LIKES} reaction_summary{{emoji_base variant count~ reacted?}}*
        previews{{fallback footer header header_link html_text text title title_link}}* old_name new_name
        old_dates{DATES} new_dates{DATES} old_resource_subtype new_resource_subtype story& assignee& follower&
        old_section& new_section& task& project& tag& custom_field& old_text_value new_text_value old_number_value~
        new_number_value~ old_enum_value& new_enum_value& old_date_value{DATES} new_date_value{DATES}
        old_people_value&* new_people_value&* old_multi_enum_values&* new_multi_enum_values&* new_approval_status
        old_approval_status duplicate_of& duplicated_from& dependency& source target&""",
    "attachments": """gid resource_type name resource_subtype created_at@ permanent_url host parent& size%
        connected_to_app?""",
}

SYSTEM = {
    "_key": pa.string(),
    "_parent": pa.string(),
    "_raw": pa.string(),
    "_hash": pa.string(),
    "_seen_at": pa.timestamp("us", "UTC"),
    "_run": pa.string(),
    "_lane": pa.string(),
    "_fields": pa.string(),
}

# Where a record says what it hangs below; None where that is the organization.
PARENTS = {
    "team_memberships": "team",
    "projects": "team",
    "custom_field_settings": "project",
    "sections": "project",
    "tasks": "parent",
    "stories": "target",
    "attachments": "parent",
    "portfolio_items": "portfolio",
}

SCALARS = {
    "": pa.string(),
    "?": pa.bool_(),
    "%": pa.int64(),
    "~": pa.float64(),
    "#": pa.date32(),
    "@": pa.timestamp("us", "UTC"),
}
GID = pa.struct([("gid", pa.string())])


class Column:
    """One column: its name, what it holds, whether it is a list, and the columns inside of it."""

    def __init__(self, name, kind, many, inner):
        self.name, self.kind, self.many, self.inner = name, kind, many, inner

    @property
    def arrow(self):
        if self.kind == "{":
            one = pa.struct([(column.name, column.arrow) for column in self.inner])
        else:
            one = GID if self.kind == "&" else SCALARS[self.kind]
        return pa.list_(one) if self.many else one

    def value(self, said, lists):
        """What the column holds of what the record says."""
        if said is None:
            return [] if lists and self.many and self.kind in ("&", "{") else None
        return [self.one(element, lists) for element in said] if self.many else self.one(said, lists)

    def one(self, said, lists):
        if said is None:
            return None
        if self.kind == "&":
            return {"gid": said["gid"]}
        if self.kind == "{":
            return row(self.inner, said, lists)
        if self.kind == "@":
            return moment(said)
        if self.kind == "#":
            return datetime.date.fromisoformat(said)
        return said


def parse(text):
    """Columns as they are written above."""
    tokens = re.findall(r"\w+|[?%~#@&]|[{}]\*?|\*", text)
    return _columns(iter(tokens))


def _columns(tokens):
    columns = []
    for token in tokens:
        if token.startswith("}"):
            return columns, token == "}*"
        if token == "*":
            columns[-1].many = True
        elif token == "{":
            columns[-1].kind = "{"
            columns[-1].inner, columns[-1].many = _columns(tokens)
        elif token in "?%~#@&":
            columns[-1].kind = token
        else:
            columns.append(Column(token, "", False, ()))
    return columns, False


TABLES = {table: parse(text)[0] for table, text in COLUMNS.items()}


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def says_something(value):
    if isinstance(value, dict):
        return any(map(says_something, value.values()))
    return value is not None and value != []


def counted(columns, record):
    """What a record says, column by column. `display_value` is there only where no other value is: it is a copy."""
    said = {column.name: record.get(column.name) for column in columns}
    if "display_value" in said and "enum_options" not in said:
        if any(
            says_something(value)
            for name, value in said.items()
            if re.fullmatch(r"\w+_values?", name) and name != "display_value"
        ):
            said["display_value"] = None
    return said


def row(columns, record, lists=False):
    """The columns of a record. With `lists` a list of objects that is not there reads as an empty one."""
    said = counted(columns, record)
    return {column.name: column.value(said[column.name], lists) for column in columns}


def schema(table):
    return pa.schema([(column.name, column.arrow) for column in TABLES[table]])


def key(table, record):
    return f"{record['portfolio']}/{record['gid']}" if table == "portfolio_items" else record["gid"]


def truth_row(table, record, lists):
    """The columns of a record of the truth."""
    if table == "portfolio_items":
        record = {**record, "portfolio": {"gid": record["portfolio"]}}
    return row(TABLES[table], record, lists)


def table_of(table, records, lists=False):
    """The whole table that must be there, sorted by key."""
    records = sorted(records, key=lambda record: key(table, record))
    return pa.Table.from_pylist([truth_row(table, record, lists) for record in records], schema(table))


# -- the digest ----------------------------------------------------------------------------------------------------------


def digest(table, record, parent):
    """The digest of a record's canonical form, by its description and not by the program."""
    if table == "portfolio_items":
        record = {**record, "portfolio": {"gid": parent}}
    return hashlib.sha256(canonical(TABLES[table], record).encode()).hexdigest()


def canonical(columns, record):
    said = counted(columns, record)
    pieces = []
    for column in sorted(columns, key=lambda column: column.name):
        value = said[column.name]
        if value is None:
            continue
        if column.many and column.kind in ("&", "{"):
            elements = [_one(column, element) for element in value]
            text = "[" + ",".join(sorted(elements, key=str.encode) if column.kind == "&" else elements) + "]"
        else:
            text = _one(column, value) if not column.many else "[" + ",".join(map(_json, value)) + "]"
        pieces.append(f"{_json(column.name)}:{text}")
    return "{" + ",".join(pieces) + "}"


def _one(column, value):
    if column.kind == "&":
        return canonical([Column("gid", "", False, ())], value)
    return canonical(column.inner, value) if column.kind == "{" else _json(value)


def _json(value):
    if isinstance(value, float):
        if value == int(value) and abs(value) < 2.0**64:
            return str(int(value))
        sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
        text = str(digits[0]) + ("." + "".join(map(str, digits[1:])) if len(digits) > 1 else "")
        return f"{'-' if sign else ''}{text}e{exponent + len(digits) - 1}"
    return json.dumps(value, ensure_ascii=False)
