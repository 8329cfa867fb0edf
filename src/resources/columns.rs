//! Columns: a field of a record, its type, and how it is asked for.
//!
//! Rule: a column holds nothing that can go stale. What another record owns (its name, its colour) is asked for, so
//! that `_raw` has it, but the column keeps the gid alone.

/// One field of a record.
#[derive(Debug)]
pub struct Column {
    /// Asana's name for it.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
}

/// The type of a column.
#[derive(Debug)]
pub enum Shape {
    /// Free text.
    Text,
    /// Text out of a short list, or an identifier: text that may have statistics.
    Word,
    /// A truth value.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A day.
    Date,
    /// A moment, to the microsecond, in UTC.
    Timestamp,
    /// A list of texts.
    Texts,
    /// Another record: the column is a struct with its `gid`. Asked for with these fields of the other, `gid`
    /// comes unasked.
    Reference(&'static [&'static str]),
    /// A list of other records, likewise.
    References(&'static [&'static str]),
    /// An object that is part of this record.
    Struct(&'static [Column]),
    /// A list of objects that are part of this record.
    Structs(&'static [Column]),
    /// Text that repeats what a neighbour says in other words: kept where no neighbour of this struct, other than
    /// words, says anything; null otherwise. Asana's `display_value` is the one case: it is the only
    /// value of a `custom_id` field, and a stale copy for an enum whose option was renamed.
    Echo,
    /// The parent the record was listed under, as a reference: for relations, whose records do not say it.
    ListedUnder,
}

/// What a reference is asked for with: what Asana's compact records have.
pub(super) const NAMED: &[&str] = &["resource_type", "name"];
/// The same for records without a name.
pub(super) const BARE: &[&str] = &["resource_type"];
/// The same for a task.
pub(super) const TASK: &[&str] = &["resource_type", "name", "resource_subtype"];
/// The same for an option of an enum.
pub(super) const OPTION: &[&str] = &["resource_type", "name", "enabled", "color"];

pub(super) const fn column(name: &'static str, shape: Shape) -> Column {
    Column { name, shape }
}

pub(super) const fn text(name: &'static str) -> Column {
    column(name, Shape::Text)
}

pub(super) const fn word(name: &'static str) -> Column {
    column(name, Shape::Word)
}

pub(super) const fn boolean(name: &'static str) -> Column {
    column(name, Shape::Boolean)
}

pub(super) const fn integer(name: &'static str) -> Column {
    column(name, Shape::Integer)
}

pub(super) const fn number(name: &'static str) -> Column {
    column(name, Shape::Number)
}

pub(super) const fn date(name: &'static str) -> Column {
    column(name, Shape::Date)
}

pub(super) const fn timestamp(name: &'static str) -> Column {
    column(name, Shape::Timestamp)
}

pub(super) const fn one(name: &'static str) -> Column {
    column(name, Shape::Reference(NAMED))
}

pub(super) const fn many(name: &'static str) -> Column {
    column(name, Shape::References(NAMED))
}

pub(super) const fn group(name: &'static str, columns: &'static [Column]) -> Column {
    column(name, Shape::Struct(columns))
}

pub(super) const fn groups(name: &'static str, columns: &'static [Column]) -> Column {
    column(name, Shape::Structs(columns))
}

/// `gid` and `resource_type`: what every record begins with.
pub(super) const GID: Column = word("gid");
pub(super) const TYPE: Column = word("resource_type");

/// The values of custom fields on a record: definitions live in the table `custom_fields`. Asana documents the last
/// kinds of values for tasks only; a name that it does not know it ignores, and a value not asked for would be lost.
pub(super) const VALUES: &[Column] = &[
    GID,
    TYPE,
    number("number_value"),
    text("text_value"),
    text("html_text_value"),
    group("date_value", &[date("date"), timestamp("date_time")]),
    column("enum_value", Shape::Reference(OPTION)),
    column("multi_enum_values", Shape::References(OPTION)),
    many("people_value"),
    many("reference_value"),
    column("display_value", Shape::Echo),
];

/// Who liked a record.
pub(super) const LIKES: &[Column] = &[GID, one("user")];

/// Appends the `opt_fields` paths of `columns`, each below `prefix`.
pub(super) fn paths(columns: &[Column], prefix: &str, into: &mut Vec<String>) {
    for Column { name, shape } in columns {
        match shape {
            Shape::ListedUnder => {}
            Shape::Reference(asked) | Shape::References(asked) => {
                into.extend(asked.iter().map(|field| format!("{prefix}{name}.{field}")));
            }
            Shape::Struct(inner) | Shape::Structs(inner) => paths(inner, &format!("{prefix}{name}."), into),
            _ => into.push(format!("{prefix}{name}")),
        }
    }
}
