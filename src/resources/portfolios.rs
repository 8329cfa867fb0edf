//! Portfolios, and what is in them.

use crate::resources::columns::{
    GID, Shape, TYPE, VALUES, boolean, column, date, groups, many, one, text, timestamp, word,
};
use crate::resources::people::{OWN_TABLE, SETTINGS};
use crate::resources::{Key, Listing, ParentOf, Resource};

pub(super) static PORTFOLIOS: Resource = Resource {
    table: "portfolios",
    resource_type: Some("portfolio"),
    single: Some("/portfolios/{gid}"),
    single_operation: "getPortfolio",
    key: Key::Gid,
    parent: ParentOf::Organization,
    goes_with_parent: false,
    followed: true,
    columns: &[
        GID,
        TYPE,
        text("name"),
        boolean("archived"),
        word("color"),
        date("start_on"),
        date("due_on"),
        word("default_access_level"),
        timestamp("created_at"),
        one("created_by"),
        groups("custom_field_settings", SETTINGS),
        column("current_status_update", Shape::Reference(&["resource_type", "title", "resource_subtype"])),
        groups("custom_fields", VALUES),
        many("members"),
        one("owner"),
        one("workspace"),
        text("permalink_url"),
        boolean("public"),
        word("privacy_setting"),
        many("project_templates"),
    ],
    never: &[("custom_field_settings.custom_field", OWN_TABLE), ("custom_fields", OWN_TABLE)],
    listings: &[Listing::root("getPortfolios", "/portfolios", &[("workspace", "{organization}")])],
};

/// A project in a portfolio: a relation. Asana answers the project's own compact record.
pub(super) static PORTFOLIO_ITEMS: Resource = Resource {
    table: "portfolio_items",
    resource_type: None,
    single: None,
    single_operation: "",
    key: Key::ParentAndGid,
    parent: ParentOf::Listing,
    goes_with_parent: true,
    followed: false,
    columns: &[column("portfolio", Shape::ListedUnder), GID, TYPE],
    never: &[("name", OWN_TABLE)],
    listings: &[Listing::below("portfolios", "getItemsForPortfolio", "/portfolios/{gid}/items", &[])],
};
