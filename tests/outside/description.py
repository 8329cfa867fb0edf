"""Asana's own description of its API, as trees of fields.

ASANA_OAS names the OpenAPI file (.yaml or .yaml.gz). Nothing about Asana is written down here but two habits of that
file, each where it is needed.
"""

import gzip
import os
import sys
from functools import cache
from pathlib import Path

import yaml

SERVER = "https://app.asana.com"
BASE = "/api/1.0"

OPT_IN = "[Opt In](/docs/inputoutput-options)"
CONDITIONAL = ("*Conditional*", "Only relevant for", "Only present when")
"""How the file says that a field is there at times."""

NOT_FIELDS = {"offset", "path", "uri"}
"""Names among the documented `opt_fields` of lists that belong to `next_page`, not to a record."""


@cache
def document():
    """The OpenAPI file."""
    name = os.environ.get("ASANA_OAS")
    if not name or not Path(name).is_file():
        sys.exit("ASANA_OAS must name Asana's OpenAPI file (asana_oas.yaml or asana_oas.yaml.gz)")
    data = Path(name).read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    # Dates in examples stay text: a JSON document has no other.
    loader = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in loader.yaml_implicit_resolvers.items()
    }
    whole = yaml.load(data, Loader=loader)
    for item in whole["paths"].values():
        for method in item.values():
            if isinstance(method, dict) and "responses" in method:
                method["responses"] = {str(status): answer for status, answer in method["responses"].items()}
    return whole


def resolve(schema):
    """A schema without a reference at its top."""
    while "$ref" in schema:
        at = document()
        for part in schema["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        schema = {**at, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def merged(schema):
    """A schema with its `allOf` folded into it.

    The file writes "a compact user, or null" as `allOf` of the user and `{nullable: true}`. Taken by the letter no
    null passes the first of the two; it is read as it is meant.
    """
    schema = resolve(schema)
    if "allOf" not in schema:
        return schema
    whole = {}
    for part in [*schema["allOf"], {key: value for key, value in schema.items() if key != "allOf"}]:
        part = merged(part)
        properties = {**whole.get("properties", {}), **part.get("properties", {})}
        texts = [text for text in (whole.get("description"), part.get("description")) if text]
        nullable = whole.get("nullable") or part.get("nullable")
        whole = {**whole, **part}
        if properties:
            whole["properties"] = properties
        if texts:
            # The last one speaks of the field; those before it of what the field refers to.
            whole["description"] = texts[-1]
        if nullable:
            whole["nullable"] = True
    return whole


class Field:
    """A field, or a whole record: its type, what it may hold, and the fields below it."""

    def __init__(self, path, schema):
        schema = merged(schema)
        self.path = path
        self.many = schema.get("type") == "array"
        self.description = schema.get("description", "")
        self.nullable = bool(schema.get("nullable"))
        inner = merged(schema.get("items", {})) if self.many else schema
        self.type = inner.get("type", "object")
        self.format = inner.get("format")
        self.enum = inner.get("enum")
        self.opt_in = OPT_IN in self.description
        words = f"{self.description} {inner.get('description', '')}"
        self.conditional = any(mark in words for mark in CONDITIONAL)
        self.children = {}
        properties = inner.get("properties", {})
        self.resource_type = merged(properties.get("resource_type", {})).get("example")
        for name, below in properties.items():
            self.children[name] = Field(f"{path}.{name}" if path else name, below)

    def leaves(self):
        """Every path below that has no fields of its own."""
        for child in self.children.values():
            if child.children:
                yield from child.leaves()
            else:
                yield child.path

    def walk(self):
        """Every field below."""
        for child in self.children.values():
            yield child
            yield from child.walk()

    def at(self, path):
        """The field at a dotted path below, if it is documented."""
        field = self
        for name in path.split("."):
            field = field.children.get(name)
            if field is None:
                return None
        return field


class Operation:
    """One documented operation that reads."""

    def __init__(self, path, item, method):
        self.path, self.id = path, method["operationId"]
        self.parameters = {}
        self.opt_fields = []
        for parameter in [*item.get("parameters", []), *method.get("parameters", [])]:
            parameter = resolve(parameter)
            if parameter["name"] == "opt_fields":
                named = parameter["schema"]["items"]["enum"]
                self.opt_fields = [name for name in named if name not in NOT_FIELDS]
            else:
                self.parameters[parameter["name"]] = parameter
        self.statuses = set(method["responses"])
        body = resolve(method["responses"]["200"])["content"]["application/json"]["schema"]
        data = body["properties"]["data"]
        self.is_list = data.get("type") == "array"
        self.envelope = set(body["properties"])
        self.paged = "next_page" in self.envelope
        self.takes_limit = "limit" in self.parameters
        self.record_name = (data["items"] if self.is_list else data)["$ref"].rsplit("/", 1)[1]

    @property
    def needs_query(self):
        """The names of required query parameters."""
        return [name for name, it in self.parameters.items() if it["in"] == "query" and it.get("required")]


@cache
def operations():
    """Every operation that reads, by its id."""
    found = {}
    for path, item in document()["paths"].items():
        if "get" in item:
            operation = item["get"]
            if "application/json" in resolve(operation["responses"].get("200", {})).get("content", {}):
                body = operation["responses"]["200"]["content"]["application/json"]["schema"]
                data = body.get("properties", {}).get("data", {})
                if "$ref" in data or "$ref" in data.get("items", {}):
                    found[operation["operationId"]] = Operation(path, item, operation)
    return found


@cache
def record(name):
    """The record a schema describes."""
    return Field("", {"$ref": f"#/components/schemas/{name}"})


def full_name(name):
    """The full record that a compact one is short for: the same, asked for with `opt_fields`."""
    schemas = document()["components"]["schemas"]
    full = name.removesuffix("Compact") + "Response"
    return full if name.endswith("Compact") and full in schemas else name


def asked_tree(paths):
    """Dotted paths as a tree: name -> (named itself, tree of what is named below it)."""
    tree = {}
    for path in paths:
        level = tree
        names = path.split(".")
        for place, name in enumerate(names):
            whole, below = level.get(name, (False, {}))
            level[name] = (whole or place == len(names) - 1, below)
            level = below
    return tree
