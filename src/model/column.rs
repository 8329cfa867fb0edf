//! The columns of a table, in words that neither Arrow nor Iceberg own.
//!
//! Rule: `encode/` makes its Arrow schema and `repository/iceberg.rs` its Iceberg schema from the one list that
//! [`table_columns`] gives, so a part and its table cannot disagree.

use crate::model::FieldIds;
use crate::resources::{Column, Resource, Shape};

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text.
    Text,
    /// A truth value.
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// A number of 64 bits.
    Number,
    /// A day.
    Date,
    /// A moment in UTC, to the microsecond.
    Timestamp,
    /// An object.
    Struct(Vec<TableColumn>),
    /// A list; its elements may be null, and are called `element` in a path.
    List(Box<ColumnKind>),
}

/// One column of a table, or one field of an object in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether every row has a value.
    pub required: bool,
    /// Whether its least and greatest value are told: never of free text, which would leak into metadata, and never
    /// inside a list, where they mean nothing.
    pub statistics: bool,
}

/// What every table has after the columns of its resource: who the row is, what Asana answered, and when.
const SYSTEM: &[(&str, ColumnKind, bool, bool)] = &[
    ("_key", ColumnKind::Text, true, true),
    ("_parent", ColumnKind::Text, false, true),
    ("_raw", ColumnKind::Text, true, false),
    ("_hash", ColumnKind::Text, true, false),
    ("_seen_at", ColumnKind::Timestamp, true, true),
    ("_run", ColumnKind::Text, true, true),
    ("_lane", ColumnKind::Text, true, true),
    ("_fields", ColumnKind::Text, true, true),
];

/// The columns of the table of `resource`, in their order: Asana's, then the system's.
#[must_use]
pub fn table_columns(resource: &Resource) -> Vec<TableColumn> {
    let system = SYSTEM.iter().map(|(name, kind, required, statistics)| TableColumn {
        name,
        kind: kind.clone(),
        required: *required,
        statistics: *statistics,
    });
    described(resource.columns, true).into_iter().chain(system).collect()
}

/// Numbers `columns` from 1, outer before inner. A table's own metadata decides; this is for a table that has none.
#[must_use]
pub fn field_ids(columns: &[TableColumn]) -> FieldIds {
    let mut ids = FieldIds::new();
    number_columns(columns, "", &mut ids);
    ids
}

fn described(columns: &[Column], statistics: bool) -> Vec<TableColumn> {
    columns.iter().map(|column| describe(column, statistics)).collect()
}

fn describe(column: &Column, statistics: bool) -> TableColumn {
    let told = |kind| (kind, statistics);
    let (kind, statistics) = match column.shape {
        Shape::Text | Shape::Echo => (ColumnKind::Text, false),
        Shape::Word => told(ColumnKind::Text),
        Shape::Boolean => told(ColumnKind::Boolean),
        Shape::Integer => told(ColumnKind::Integer),
        Shape::Number => told(ColumnKind::Number),
        Shape::Date => told(ColumnKind::Date),
        Shape::Timestamp => told(ColumnKind::Timestamp),
        Shape::Texts => (ColumnKind::List(Box::new(ColumnKind::Text)), false),
        Shape::Reference(_) | Shape::ListedUnder => (reference(statistics), false),
        Shape::References(_) => (ColumnKind::List(Box::new(reference(false))), false),
        Shape::Struct(inner) => (ColumnKind::Struct(described(inner, statistics)), false),
        Shape::Structs(inner) => {
            (ColumnKind::List(Box::new(ColumnKind::Struct(described(inner, false)))), false)
        }
    };
    TableColumn { name: column.name, kind, required: false, statistics }
}

fn reference(statistics: bool) -> ColumnKind {
    let gid = TableColumn { name: "gid", kind: ColumnKind::Text, required: false, statistics };
    ColumnKind::Struct(vec![gid])
}

fn number_columns(columns: &[TableColumn], prefix: &str, ids: &mut FieldIds) {
    for column in columns {
        number_kind(&column.kind, format!("{prefix}{}", column.name), ids);
    }
}

fn number_kind(kind: &ColumnKind, path: String, ids: &mut FieldIds) {
    let id = i32::try_from(ids.len() + 1).expect("a table has fewer than two thousand million columns");
    match kind {
        ColumnKind::Struct(columns) => {
            let prefix = format!("{path}.");
            ids.insert(path, id);
            number_columns(columns, &prefix, ids);
        }
        ColumnKind::List(element) => {
            let inner = format!("{path}.element");
            ids.insert(path, id);
            number_kind(element, inner, ids);
        }
        _ => {
            ids.insert(path, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources;

    fn find<'a>(columns: &'a [TableColumn], path: &str) -> &'a TableColumn {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let column = columns.iter().find(|column| column.name == name).expect("the column exists");
        match &column.kind {
            ColumnKind::Struct(inner) if !rest.is_empty() => find(inner, rest),
            _ => column,
        }
    }

    #[test]
    fn free_text_and_what_is_in_a_list_is_never_told() {
        let tasks = table_columns(resources::named("tasks"));
        for path in ["name", "notes", "html_notes", "external.data", "_raw", "_hash", "followers"] {
            assert!(!find(&tasks, path).statistics, "{path}");
        }
        for path in ["gid", "completed", "due_on", "assignee.gid", "external.gid", "_key", "_seen_at"] {
            assert!(find(&tasks, path).statistics, "{path}");
        }
        let ColumnKind::List(element) = &find(&tasks, "custom_fields").kind else { panic!("a list") };
        let ColumnKind::Struct(values) = &**element else { panic!("of objects") };
        assert!(values.iter().all(|column| !column.statistics));
    }

    #[test]
    fn every_path_of_every_table_gets_one_id() {
        for resource in resources::ALL {
            let ids = field_ids(&table_columns(resource));
            let mut numbers: Vec<i32> = ids.values().copied().collect();
            numbers.sort_unstable();
            assert!(numbers.iter().copied().eq(1..=i32::try_from(ids.len()).expect("few")));
            assert!(ids.contains_key("_fields"));
        }
        let ids = field_ids(&table_columns(resources::named("tasks")));
        assert!(ids.contains_key("followers.element.gid") && ids.contains_key("assignee.gid"));
    }
}
