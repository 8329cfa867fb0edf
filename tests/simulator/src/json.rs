//! Writes records as JSON, field by field, as far as `opt_fields` asks for them.
//!
//! Rule: a field is written when it was asked for, and made only then: a list of names costs no more than names.

use std::borrow::Cow;
use std::io::Write as _;

use crate::time::{self, Ms};

/// How readily a field shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// In the compact form too.
    Compact,
    /// In the full form.
    Full,
    /// Only when named.
    OptIn,
}

pub(crate) use Level::{Compact as C, Full as F, OptIn as O};

/// Which fields of a record to write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Select {
    /// The compact form: what a list answers without `opt_fields`, and an object named without a field of it.
    Compact,
    /// All but the opt-in fields: what a single GET answers.
    Full,
    /// Everything there is: the oracle's form.
    All,
    /// Just these, and `gid`.
    Only {
        /// The object itself was named as well as fields of it.
        compact: bool,
        /// The fields by name.
        names: Vec<(String, Select)>,
    },
}

/// The compact form.
pub(crate) const COMPACT: &Select = &Select::Compact;
/// The full form.
pub(crate) const FULL: &Select = &Select::Full;
/// The oracle's form.
pub(crate) const ALL: &Select = &Select::All;

impl Select {
    /// Reads `opt_fields`: dotted paths with commas between them.
    pub(crate) fn parse(text: &str) -> Self {
        let mut names = Vec::new();
        for path in text.split(',') {
            add(&mut names, path.trim());
        }
        Self::Only { compact: false, names }
    }

    /// Whether nothing is asked for but the compact form and these names.
    pub(crate) fn is_within(&self, known: &[&str]) -> bool {
        match self {
            Self::Compact => true,
            Self::Full | Self::All => false,
            Self::Only { names, .. } => names.iter().all(|(name, _)| known.contains(&name.as_str())),
        }
    }

    /// What to write of the field, if it is to be written.
    fn of(&self, level: Level, name: &str, default: &'static Select) -> Option<&Select> {
        match self {
            Self::Compact => (level == C).then_some(COMPACT),
            Self::Full => (level != O).then_some(default),
            // Values of custom fields are a record's own, also where its full form has them compact.
            Self::All if matches!(default, Self::Full) || name == "custom_fields" => Some(ALL),
            Self::All => Some(default),
            Self::Only { compact, names } => names
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, select)| select)
                .or_else(|| (*compact && level == C).then_some(COMPACT)),
        }
    }
}

/// Adds one dotted path to the fields asked for.
fn add(names: &mut Vec<(String, Select)>, path: &str) {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    if head.is_empty() {
        return;
    }
    let place = names.iter().position(|(known, _)| known == head).unwrap_or_else(|| {
        names.push((head.to_owned(), Select::Only { compact: false, names: Vec::new() }));
        names.len() - 1
    });
    let entry = &mut names[place].1;
    if let Select::Only { compact, names } = entry {
        match rest {
            Some(rest) => add(names, rest),
            None => *compact = true,
        }
    }
}

/// Appends a string as JSON.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON, and memory takes all of it");
}

/// Appends a whole number.
pub(crate) fn integer(out: &mut Vec<u8>, number: i64) {
    write!(out, "{number}").expect("memory takes all of it");
}

/// Appends a number; whole ones without a fraction, as Asana prints them.
pub(crate) fn number(out: &mut Vec<u8>, number: f64) {
    write!(out, "{number}").expect("memory takes all of it");
}

/// Appends a gid.
pub(crate) fn gid(out: &mut Vec<u8>, gid: u64) {
    write!(out, "\"{gid}\"").expect("memory takes all of it");
}

/// Appends an array.
pub(crate) fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        each(out, item);
    }
    out.push(b']');
}

/// One object being written.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    select: &'a Select,
    first: bool,
}

impl<'a> Object<'a> {
    /// Begins an object without a gid. Such objects have no compact form but the whole: their fields are all `C`.
    pub(crate) fn plain(out: &'a mut Vec<u8>, select: &'a Select) -> Self {
        out.push(b'{');
        Self { out, select, first: true }
    }

    /// Begins a record: `gid` always, `resource_type` where it belongs.
    pub(crate) fn record(out: &'a mut Vec<u8>, select: &'a Select, number: u64, resource_type: &str) -> Self {
        let mut object = Self::untyped(out, select, number);
        object.text(C, "resource_type", resource_type);
        object
    }

    /// Begins one of the few records that have a gid but no `resource_type`.
    pub(crate) fn untyped(out: &'a mut Vec<u8>, select: &'a Select, number: u64) -> Self {
        let mut object = Self::plain(out, select);
        object.key("gid");
        gid(object.out, number);
        object
    }

    /// Ends it.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, name: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// The field in whatever form `write` gives it; nested objects get what was asked of them, else `default`.
    pub(crate) fn nested(
        &mut self,
        level: Level,
        name: &str,
        default: &'static Select,
        write: impl FnOnce(&mut Vec<u8>, &Select),
    ) {
        let asked: &'a Select = self.select;
        if let Some(select) = asked.of(level, name, default) {
            self.key(name);
            write(self.out, select);
        }
    }

    /// A field without fields of its own.
    pub(crate) fn value(&mut self, level: Level, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.select.of(level, name, COMPACT).is_some() {
            self.key(name);
            write(self.out);
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, level: Level, name: &str, text: &str) {
        self.value(level, name, |out| string(out, text));
    }

    /// A string that is made only when asked for.
    pub(crate) fn lazy<'t>(&mut self, level: Level, name: &str, text: impl FnOnce() -> Cow<'t, str>) {
        self.value(level, name, |out| string(out, &text()));
    }

    /// A string or null.
    pub(crate) fn maybe(&mut self, level: Level, name: &str, text: Option<&str>) {
        self.value(level, name, |out| match text {
            Some(text) => string(out, text),
            None => null(out),
        });
    }

    /// True or false.
    pub(crate) fn flag(&mut self, level: Level, name: &str, flag: bool) {
        self.value(level, name, |out| out.extend_from_slice(if flag { b"true" } else { b"false" }));
    }

    /// A whole number.
    pub(crate) fn count(&mut self, level: Level, name: &str, number: usize) {
        self.value(level, name, |out| integer(out, number as i64));
    }

    /// A moment.
    pub(crate) fn moment(&mut self, level: Level, name: &str, at: Ms) {
        self.maybe_moment(level, name, Some(at));
    }

    /// A moment or null.
    pub(crate) fn maybe_moment(&mut self, level: Level, name: &str, at: Option<Ms>) {
        self.value(level, name, |out| match at {
            Some(at) => {
                out.push(b'"');
                time::write_moment(out, at);
                out.push(b'"');
            }
            None => null(out),
        });
    }

    /// A day or null.
    pub(crate) fn maybe_day(&mut self, level: Level, name: &str, day: Option<i64>) {
        self.value(level, name, |out| match day {
            Some(day) => {
                out.push(b'"');
                time::write_day(out, day);
                out.push(b'"');
            }
            None => null(out),
        });
    }
}

/// Appends null.
pub(crate) fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}
