//! The query of a request.

use crate::api::Refusal;
use crate::json::Select;
use crate::time::{self, Ms};

/// Its pairs, decoded, and what they ask of the answer's form.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    select: Option<Select>,
}

impl Query {
    /// Reads a query as it stands after the question mark.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let fields: Vec<&str> =
            pairs.iter().filter(|(name, _)| name == "opt_fields").map(|(_, value)| value.as_str()).collect();
        let select = (!fields.is_empty()).then(|| Select::parse(&fields.join(",")));
        Self { pairs, select }
    }

    /// A parameter's value; an empty one counts as missing.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// The names of all parameters.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// The values between commas.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<&str>> {
        self.get(name).map(|value| value.split(',').map(str::trim).collect())
    }

    /// A moment.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<Ms>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            // Asana's own word for "incomplete only".
            Some("now") if name == "completed_since" => Ok(Some(time::LATEST)),
            Some(text) => match time::parse(text) {
                Some(at) => Ok(Some(at)),
                None => Err(Refusal::bad(format!("{name}: Not a valid date-time: {text}"))),
            },
        }
    }

    /// A truth value.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(text) => Err(Refusal::bad(format!("{name}: Not a boolean: {text}"))),
        }
    }

    /// `limit`, between 1 and 100.
    pub(crate) fn limit(&self) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.get("limit") else { return Ok(None) };
        match text.parse() {
            Ok(limit @ 1..=100) => Ok(Some(limit)),
            _ => Err(Refusal::bad("limit: Must be between 1 and 100 inclusive.")),
        }
    }

    /// What to show of a record.
    pub(crate) fn select(&self, default: &'static Select) -> &Select {
        self.select.as_ref().unwrap_or(default)
    }

    /// The query again, with another offset.
    pub(crate) fn with_offset(&self, token: &str) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.pairs.iter().filter(|(name, _)| name != "offset") {
            out.append_pair(name, value);
        }
        out.append_pair("offset", token).finish()
    }

    /// What makes two queries ask for the same list: everything but the page and the form.
    pub(crate) fn identity(&self) -> String {
        let form = ["offset", "limit", "opt_fields", "opt_pretty"];
        let mut pairs: Vec<_> =
            self.pairs.iter().filter(|(name, _)| !form.contains(&name.as_str())).collect();
        pairs.sort();
        format!("{pairs:?}")
    }

    /// Indents the body if `opt_pretty` asks for it.
    pub(crate) fn pretty(&self, body: Vec<u8>) -> Vec<u8> {
        match self.pairs.iter().find(|(name, _)| name == "opt_pretty") {
            Some((_, value)) if value != "false" => {
                match serde_json::from_slice::<serde_json::Value>(&body) {
                    Ok(value) => format!("{value:#}\n").into_bytes(),
                    Err(_) => body,
                }
            }
            _ => body,
        }
    }
}
