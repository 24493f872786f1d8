//! JSON from outside, read so that it means one thing.
//!
//! A key that stands twice, a number that is none, half a character, a byte behind the end: each
//! reader would make something else of them, so they are refused. What is read costs a bounded
//! number of values.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// Values in one text; a full page of machines has a tenth of it.
const VALUES_MAX: usize = 100_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A whole number that is exact.
    Whole(i64),
    /// Any other number; never infinite, never NaN.
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

impl Json {
    /// Reads one text.
    ///
    /// # Errors
    /// Where it is not JSON, or not such as means one thing; the text is for a person.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut budget = VALUES_MAX;
        let mut reader = serde_json::Deserializer::from_slice(text);
        let value = Build(&mut budget).deserialize(&mut reader).and_then(|value| {
            reader.end()?;
            Ok(value)
        });
        value.map_err(|error| error.to_string())
    }

    /// What an object has under a name; absent and null are one.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.get(name).filter(|value| **value != Self::Null),
            _ => None,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self, Self::Object(fields) if fields.contains_key(name))
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// What it is, for a person.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

struct Build<'a>(&'a mut usize);

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        *self.0 = self.0.checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a number that is no exact id is an amount")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Whole))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        if value.is_finite() { Ok(Json::Number(value)) } else { Err(E::custom("no number")) }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(Build(self.0))? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(Build(self.0))?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are() {
        let text = br#" {"a":[null,true,-1,1.5,9007199254740993,18446744073709551615,"\u00e9"]} "#;
        let read = Json::parse(text).unwrap();
        let expected = [
            Json::Null,
            Json::Bool(true),
            Json::Whole(-1),
            Json::Number(1.5),
            Json::Whole(9_007_199_254_740_993),
            Json::Number(18_446_744_073_709_551_615.0),
            Json::Text("é".to_owned()),
        ];
        assert_eq!(read.get("a").and_then(Json::list), Some(&expected[..]));
        assert_eq!(read.get("b"), None);
        assert!(!read.has("b"));
    }

    /// Rows: B-A1, B-A8.
    #[test]
    fn what_means_two_things_or_nothing_is_refused() {
        let deep = "[".repeat(100_000);
        let many = format!("[{}0]", "0,".repeat(VALUES_MAX));
        let names: Vec<_> = (0..VALUES_MAX).map(|n| format!("\"{n}\":0")).collect();
        let wide = format!("{{{}}}", names.join(","));
        for text in [
            "",
            " ",
            "<html><body>502</body></html>",
            "{\"a\":1",
            "\u{feff}{}",
            "{} x",
            "{}{}",
            "{\"a\":1,\"a\":2}",
            "{\"b\":[{\"a\":1,\"\\u0061\":1}]}",
            "NaN",
            "[Infinity]",
            "[-Infinity]",
            "[1e999]",
            "\"\\ud800\"",
            "\"\\udc00 \"",
            "[01]",
            "'a'",
            "[1,]",
            &deep,
            &many,
            &wide,
        ] {
            let shown = &text[..text.len().min(40)];
            assert!(Json::parse(text.as_bytes()).is_err(), "{shown:?}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
    }
}
