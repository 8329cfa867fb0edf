//! Custom fields: their definitions, and where they are used.

use crate::resources::columns::{
    GID, Shape, TYPE, boolean, column, date, group, groups, integer, many, number, one, text, timestamp, word,
};
use crate::resources::people::OWN_TABLE;
use crate::resources::{Key, Listing, ParentOf, Resource};

const VALUE: &str = "a definition has no value";

pub(super) static CUSTOM_FIELDS: Resource = Resource {
    table: "custom_fields",
    resource_type: Some("custom_field"),
    single: Some("/custom_fields/{gid}"),
    single_operation: "getCustomField",
    key: Key::Gid,
    parent: ParentOf::Organization,
    goes_with_parent: false,
    followed: true,
    columns: &[
        GID,
        TYPE,
        text("name"),
        word("type"),
        word("resource_subtype"),
        groups("enum_options", &[GID, TYPE, text("name"), boolean("enabled"), word("color")]),
        boolean("enabled"),
        word("representation_type"),
        word("id_prefix"),
        column("input_restrictions", Shape::Texts),
        boolean("is_formula_field"),
        text("description"),
        integer("precision"),
        word("format"),
        word("currency_code"),
        text("custom_label"),
        word("custom_label_position"),
        boolean("is_global_to_workspace"),
        boolean("has_notifications_enabled"),
        word("asana_created_field"),
        boolean("is_value_read_only"),
        one("created_by"),
        word("privacy_setting"),
        word("default_access_level"),
        // A definition answers these as null; asked for because Asana documents them.
        group("date_value", &[date("date"), timestamp("date_time")]),
        one("enum_value"),
        many("multi_enum_values"),
        number("number_value"),
        text("text_value"),
        text("html_text_value"),
        text("display_value"),
        many("people_value"),
        many("reference_value"),
    ],
    never: &[("enum_value", VALUE), ("multi_enum_values", VALUE)],
    listings: &[Listing::root(
        "getCustomFieldsForWorkspace",
        "/workspaces/{organization}/custom_fields",
        &[],
    )],
};

pub(super) static CUSTOM_FIELD_SETTINGS: Resource = Resource {
    table: "custom_field_settings",
    resource_type: Some("custom_field_setting"),
    // A setting has a gid, but Asana has no single GET for it.
    single: None,
    single_operation: "",
    key: Key::Gid,
    parent: ParentOf::Field("project"),
    goes_with_parent: true,
    followed: false,
    columns: &[GID, TYPE, one("project"), boolean("is_important"), one("parent"), one("custom_field")],
    never: &[("custom_field", OWN_TABLE)],
    listings: &[Listing::below(
        "projects",
        "getCustomFieldSettingsForProject",
        "/projects/{gid}/custom_field_settings",
        &[],
    )],
};
