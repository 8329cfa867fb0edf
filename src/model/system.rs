//! The tables beside those of Asana's resources: what the runs did, what they lack, what went, and how far each way
//! of reading has come.
//!
//! Rule: a column is added at the end and may be null, so that rows written without it stay readable.

use chrono::{DateTime, Utc};

use crate::model::{ColumnKind, TableColumn};

/// A table that the program fills with what it knows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemTable {
    /// Its name.
    pub table: &'static str,
    /// Its columns, in their order: of text, whole numbers, truth values and moments only.
    pub columns: Vec<TableColumn>,
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// A moment; what is finer than a microsecond is not kept.
    Timestamp(DateTime<Utc>),
}

impl Cell {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The moment, if it is one.
    #[must_use]
    pub fn timestamp(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Timestamp(moment) => Some(*moment),
            _ => None,
        }
    }
}

/// One row, a value or nothing for each column in their order.
pub type SystemRow = Vec<Option<Cell>>;

/// The system tables.
#[must_use]
pub fn system_tables() -> Vec<SystemTable> {
    let table = |table, columns| SystemTable { table, columns };
    vec![
        table("_runs", runs()),
        table("_gaps", gaps()),
        table("_tombstones", tombstones()),
        table("_coverage", coverage()),
    ]
}

/// One row for each committed run.
fn runs() -> Vec<TableColumn> {
    vec![
        number("snapshot"),
        word("run"),
        word("writer"),
        word("program"),
        number("resources"),
        free("plan"),
        moment("started_at"),
        moment("committed_at"),
        truth("complete"),
        number("requests"),
        number("gaps"),
        number("rows"),
        number("new"),
        number("changed"),
        number("unchanged"),
        number("gone"),
    ]
}

/// One row for each thing that could not be read, and who accepted that.
fn gaps() -> Vec<TableColumn> {
    vec![
        word("table"),
        word("scope"),
        word("gid"),
        number("status"),
        free("phrase"),
        moment("first_seen"),
        moment("last_seen"),
        optional(free("accepted_by")),
        optional(free("accepted_reason")),
        optional(moment("accepted_at")),
        optional(moment("accepted_until")),
    ]
}

/// One row for each record that is proven gone, with its last content.
fn tombstones() -> Vec<TableColumn> {
    vec![
        word("table"),
        word("key"),
        optional(word("parent")),
        word("proof"),
        moment("gone_at"),
        number("snapshot"),
        word("run"),
        free("hash"),
        free("raw"),
    ]
}

/// One row for each scope: what of it was listed to its end, and when.
fn coverage() -> Vec<TableColumn> {
    vec![word("scope"), word("table"), word("fields"), word("lane"), moment("covered_at")]
}

/// A key or one of few words: its bounds are told.
fn word(name: &'static str) -> TableColumn {
    column(name, ColumnKind::Text, true)
}

/// Free text, or text that nobody looks for by its order: its bounds are not told.
fn free(name: &'static str) -> TableColumn {
    column(name, ColumnKind::Text, false)
}

fn number(name: &'static str) -> TableColumn {
    column(name, ColumnKind::Integer, true)
}

fn truth(name: &'static str) -> TableColumn {
    column(name, ColumnKind::Boolean, true)
}

fn moment(name: &'static str) -> TableColumn {
    column(name, ColumnKind::Timestamp, true)
}

fn column(name: &'static str, kind: ColumnKind, statistics: bool) -> TableColumn {
    TableColumn { name, kind, required: true, statistics }
}

fn optional(column: TableColumn) -> TableColumn {
    TableColumn { required: false, ..column }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::field_ids;
    use crate::resources;

    #[test]
    fn a_system_table_is_told_from_asanas_and_has_plain_columns_of_different_names() {
        for SystemTable { table, columns } in system_tables() {
            assert!(table.starts_with('_') && resources::by_table(table).is_none(), "{table}");
            assert_eq!(field_ids(&columns).len(), columns.len(), "{table}");
            assert!(
                columns.iter().all(|column| matches!(
                    column.kind,
                    ColumnKind::Text | ColumnKind::Integer | ColumnKind::Boolean | ColumnKind::Timestamp
                )),
                "{table}"
            );
        }
    }

    #[test]
    fn free_text_of_a_system_table_is_never_told() {
        let told: Vec<String> = system_tables()
            .iter()
            .flat_map(|table| table.columns.iter().map(|column| (table.table, column)))
            .filter(|(_, column)| !column.statistics)
            .map(|(table, column)| format!("{table}.{}", column.name))
            .collect();
        let silent = [
            "_runs.plan",
            "_gaps.phrase",
            "_gaps.accepted_by",
            "_gaps.accepted_reason",
            "_tombstones.hash",
            "_tombstones.raw",
        ];
        assert_eq!(told, silent);
    }
}
