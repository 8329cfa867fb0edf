//! JSON as the encoder looks at it: texts borrowed from the record, objects as plain lists of fields.
//!
//! Rule: what is seen here is the same whichever features other crates switch on in `serde_json`: no order of keys,
//! and of two fields of one name the last. `serde_json::Value` promises neither, and costs several times as much.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A whole number that is too great for an `i64`.
    Beyond(u64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// The fields of an object as they came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// The value of `name`, where there is one: null is none. Looked for one by one: an object has some dozens of
    /// fields, and their lengths alone tell most names apart, which beats sorting or hashing them first.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let (_, value) = self.0.iter().rev().find(|(field, _)| field == name)?;
        Some(value).filter(|value| !matches!(value, Json::Null))
    }

    /// The fields sorted by name, each name once.
    pub(super) fn sorted(&self) -> BTreeMap<&str, &Json<'a>> {
        self.0.iter().map(|(name, value)| (&**name, value)).collect()
    }
}

impl<'a> Json<'a> {
    /// Reads JSON, forgiving what Asana's own texts can contain: half a surrogate pair, such as an emoji cut in two,
    /// reads as U+FFFD. Refuses what is nested deeper than 128, and numbers beyond all floats.
    pub(super) fn read(raw: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(raw).or_else(|cause| match mended(raw) {
            Some(mended) => serde_json::from_str(&mended).map(Json::owned),
            None => Err(cause),
        })
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Json<'a>]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    pub(super) fn object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The same value for those who know `serde_json` alone.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(truth) => Value::Bool(*truth),
            Self::Integer(whole) => Value::from(*whole),
            Self::Beyond(whole) => Value::from(*whole),
            Self::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::List(elements) => Value::Array(elements.iter().map(Json::to_value).collect()),
            Self::Object(object) => Value::Object(
                object.0.iter().map(|(name, value)| (name.clone().into_owned(), value.to_value())).collect(),
            ),
        }
    }

    fn owned(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Boolean(truth) => Json::Boolean(truth),
            Self::Integer(whole) => Json::Integer(whole),
            Self::Beyond(whole) => Json::Beyond(whole),
            Self::Float(number) => Json::Float(number),
            Self::Text(text) => Json::Text(Cow::Owned(text.into_owned())),
            Self::List(elements) => Json::List(elements.into_iter().map(Json::owned).collect()),
            Self::Object(Object(fields)) => {
                let owned =
                    fields.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), value.owned()));
                Json::Object(Object(owned.collect()))
            }
        }
    }
}

impl<'a> From<&'a Value> for Json<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Boolean(*truth),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(whole), _, _) => Self::Integer(whole),
                (_, Some(whole), _) => Self::Beyond(whole),
                (_, _, float) => Self::Float(float.unwrap_or(f64::MAX)),
            },
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(elements) => Self::List(elements.iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(Object(
                fields
                    .iter()
                    .map(|(name, value)| (Cow::Borrowed(name.as_str()), Self::from(value)))
                    .collect(),
            )),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

/// A name, borrowed where no escape is in it. (serde's own `Cow` is always owned.)
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Any)? {
            Json::Text(name) => Ok(Self(name)),
            _ => Err(serde::de::Error::custom("a name that is no text")),
        }
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Boolean(truth))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(whole))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(whole).map_or(Json::Beyond(whole), Json::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Json::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::with_capacity(8);
        while let Some((Name(name), value)) = object.next_entry()? {
            fields.push((name, value));
        }
        Ok(Json::Object(Object(fields)))
    }
}

/// The same JSON with `\ufffd` for each escape that is half a surrogate pair; none if there is no such half.
fn mended(raw: &str) -> Option<String> {
    let unit = |at: usize| {
        let escape = raw.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
    };
    let mut bytes = raw.as_bytes().to_vec();
    let (mut at, mut halves) = (0, 0);
    while at < bytes.len() {
        at += match (bytes[at], unit(at)) {
            (b'\\', Some(0xd800..=0xdbff)) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            (b'\\', Some(0xd800..=0xdfff)) => {
                bytes[at..at + 6].copy_from_slice(b"\\ufffd");
                halves += 1;
                6
            }
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    (halves > 0).then(|| String::from_utf8(bytes).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_fields_of_one_name_the_last_is_seen_and_null_is_none() {
        let json = Json::read(r#"{"b":1,"a":2,"b":null,"a":3,"c":4}"#).expect("JSON");
        let object = json.object().expect("an object");
        assert_eq!(
            (object.get("a"), object.get("b"), object.get("d")),
            (Some(&Json::Integer(3)), None, None)
        );
        assert_eq!(object.sorted().into_keys().collect::<String>(), "abc");
        assert_eq!(json.to_value(), serde_json::json!({"a": 3, "b": null, "c": 4}));
    }

    #[test]
    fn every_value_is_the_same_by_way_of_serde_json() {
        for raw in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "0.30000000000000004",
            "1e300",
            r#""a\n\u00e9""#,
            r#"[1,{"b":[],"a":{}},"x"]"#,
        ] {
            let json = Json::read(raw).expect("JSON");
            let value: Value = serde_json::from_str(raw).expect("JSON");
            assert_eq!(json.to_value(), value);
            assert_eq!(Json::from(&value), json);
        }
    }
}
