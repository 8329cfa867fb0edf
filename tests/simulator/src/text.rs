//! Names and texts, made from a number when somebody reads them.
//!
//! Rule: the texts hold what breaks careless readers: emoji, right-to-left words, quotes, backslashes, line breaks,
//! markup, empty strings, and now and then 60 KB at once.

use std::borrow::Cow;
use std::sync::Arc;

use crate::random::Rng;

const FIRST: &[&str] = &[
    "Ada", "Björn", "Chiara", "Dmitri", "Éloïse", "Fatima", "Goran", "Hana", "Imani", "Jürgen", "Kenji",
    "Lucía", "Maya", "Ngozi", "Olga", "Priya", "Quentin", "Rosa", "Søren", "Tomás", "Uma", "Víctor", "Wei",
    "Ximena", "Yuki", "Zoë", "נועה", "محمد", "小明", "Œdipe",
];
const LAST: &[&str] = &[
    "Abara",
    "Bianchi",
    "Chen",
    "Dvořák",
    "Eriksen",
    "Fischer",
    "García",
    "Haddad",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Müller",
    "Nakamura",
    "O'Brien",
    "Petrov",
    "Quispe",
    "Rossi",
    "Silva",
    "Tanaka",
    "Ulloa",
    "Vega",
    "Weiß",
    "Xu",
    "Yılmaz",
    "Zhang",
    "כהן",
    "الحسن",
    "de la Cruz",
    "\"Mac\" Lee",
];
const WORDS: &[&str] = &[
    "review",
    "draft",
    "launch",
    "budget",
    "contract",
    "invoice",
    "landing",
    "page",
    "quarterly",
    "report",
    "design",
    "meeting",
    "notes",
    "customer",
    "feedback",
    "pricing",
    "update",
    "security",
    "audit",
    "migration",
    "release",
    "plan",
    "interview",
    "onboarding",
    "campaign",
    "newsletter",
    "roadmap",
    "backlog",
    "estimate",
    "supplier",
    "travel",
    "booking",
    "policy",
    "handbook",
    "training",
    "prototype",
    "research",
    "survey",
    "translation",
    "video",
    "website",
    "analytics",
    "dashboard",
    "export",
    "import",
    "printer",
    "office",
    "team",
    "offsite",
    "catnip",
];
const ODD: &[&str] = &[
    "🚀",
    "👩🏽‍💻",
    "🇩🇪",
    "✅",
    "שלום עולם",
    "مراجعة العقد",
    "日本語の件名",
    "C:\\temp\\new",
    "\"quoted\"",
    "<b>bold</b>",
    "a,b;c",
    "=SUM(A1:A9)",
    "naïve café",
    "line\u{2028}separator",
    "zero\u{200b}width",
    "100% & more",
    "tab\there",
    "e\u{301}",
    "𝒳",
    "%2F..%2F",
];

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The name of a task.
    Name,
    /// The description of something: often empty, now and then huge.
    Notes,
    /// A comment.
    Comment,
}

/// A text: given by an edit, or made from its key each time it is read.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// Made on demand.
    Seeded(Form, u64),
    /// Written by an edit.
    Given(Arc<str>),
}

impl Text {
    /// A text somebody wrote.
    pub(crate) fn given(text: &str) -> Self {
        Self::Given(Arc::from(text))
    }

    /// The text itself.
    pub(crate) fn read(&self) -> Cow<'_, str> {
        match self {
            Self::Given(text) => Cow::Borrowed(text),
            Self::Seeded(form, key) => Cow::Owned(match form {
                Form::Name => task_name(*key),
                Form::Notes => notes(*key),
                Form::Comment => comment(*key),
            }),
        }
    }
}

/// Words up to `count`, one in some an odd one.
fn words(rng: &mut Rng, count: u64, odd: u64) -> String {
    let mut out = String::with_capacity(count as usize * 9);
    for place in 0..count {
        if place > 0 {
            out.push(' ');
        }
        out.push_str(if rng.once_in(odd) { rng.pick(ODD) } else { rng.pick(WORDS) });
    }
    out
}

/// A short name in title case.
pub(crate) fn title(rng: &mut Rng, count: u64) -> String {
    let text = words(rng, count, 14);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The name of a task; Asana allows an empty one.
fn task_name(key: u64) -> String {
    let mut rng = Rng::from_state(key);
    match rng.below(400) {
        0 => String::new(),
        1 => words(&mut rng, 110, 9),
        _ => {
            let count = 2 + rng.below(5);
            title(&mut rng, count)
        }
    }
}

/// A description.
fn notes(key: u64) -> String {
    let mut rng = Rng::from_state(key);
    match rng.below(2_000) {
        0 => words(&mut rng, 7_600, 11),
        kind if kind < 900 => String::new(),
        kind if kind < 1_700 => {
            let count = 5 + rng.below(15);
            words(&mut rng, count, 12)
        }
        _ => {
            let lines = 2 + rng.below(5);
            (0..lines).map(|_| words(&mut rng, 9, 10)).collect::<Vec<_>>().join("\n")
        }
    }
}

/// A comment.
fn comment(key: u64) -> String {
    let mut rng = Rng::from_state(key);
    let count = if rng.once_in(300) { 900 } else { 3 + rng.below(18) };
    words(&mut rng, count, 13)
}

/// The 60 KB description that every world holds at least once.
pub(crate) fn huge(key: u64) -> String {
    let mut text = words(&mut Rng::from_state(key), 9_000, 11);
    let mut end = 60 * 1_024;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// A person's name.
pub(crate) fn person(rng: &mut Rng) -> String {
    format!("{} {}", rng.pick(FIRST), rng.pick(LAST))
}

/// A text as Asana's rich text.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str("<body>");
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out.push_str("</body>");
    out
}
