//! A judge of JSON by a JSON Schema, for the keywords that our own schema uses
//!
//! Stricter than the standard in one thing: a property that the schema does not name is an error,
//! so that no field appears without a word in the schema.

use serde_json::{Map, Value};

/// Panics unless `value` is as `schema` says
pub fn assert_valid(schema: &Value, value: &Value) {
    if let Err(why) = judge(schema, schema, value, "$") {
        panic!("{why}\nin {value:#}");
    }
}

/// Whether `value` is as `schema` says, and if not, why
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    judge(schema, schema, value, "$")
}

fn judge(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let rules = schema.as_object().ok_or_else(|| format!("{place}: the schema is no object"))?;
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$ref" => judge(root, resolve(root, rule)?, value, place)?,
            "oneOf" | "anyOf" => one_of(root, keyword, rule, value, place)?,
            "type" => require(is_type(rule, value), place, "it is of another type")?,
            "const" => require(rule == value, place, &format!("it is not {rule}"))?,
            "enum" => {
                let known = rule.as_array().is_some_and(|known| known.contains(value));
                require(known, place, &format!("{value} is none of {rule}"))?;
            }
            "minimum" => {
                let enough = value.as_f64() >= rule.as_f64();
                require(!value.is_number() || enough, place, "it is too small")?;
            }
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                let matches = regex(rule.as_str().unwrap_or_default(), text);
                require(matches, place, &format!("{text:?} does not match {rule}"))?;
            }
            "items" => {
                for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
                    judge(root, rule, entry, &format!("{place}[{index}]"))?;
                }
            }
            "properties" => properties(root, rule, value, place)?,
            "required" => {
                for name in rule.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    let there = value.as_object().is_none_or(|fields| fields.contains_key(name));
                    require(there, place, &format!("{name} is missing"))?;
                }
            }
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            other => return Err(format!("{place}: the judge does not know {other}")),
        }
    }
    Ok(())
}

fn one_of(
    root: &Value,
    keyword: &str,
    rule: &Value,
    value: &Value,
    place: &str,
) -> Result<(), String> {
    let choices = rule.as_array().ok_or_else(|| format!("{place}: no choices"))?;
    let judged: Vec<_> = choices.iter().map(|choice| judge(root, choice, value, place)).collect();
    let fitting = judged.iter().filter(|judged| judged.is_ok()).count();
    let enough = if keyword == "oneOf" { fitting == 1 } else { fitting > 0 };
    let reasons: Vec<_> = judged.into_iter().filter_map(Result::err).collect();
    require(enough, place, &format!("{fitting} choices fit: {}", reasons.join("; ")))
}

fn properties(root: &Value, rule: &Value, value: &Value, place: &str) -> Result<(), String> {
    let none = Map::new();
    let known = rule.as_object().unwrap_or(&none);
    for (name, field) in value.as_object().unwrap_or(&none) {
        match known.get(name) {
            Some(schema) => judge(root, schema, field, &format!("{place}.{name}"))?,
            None => return Err(format!("{place}: the schema does not name {name}")),
        }
    }
    Ok(())
}

fn resolve<'a>(root: &'a Value, reference: &Value) -> Result<&'a Value, String> {
    let name = reference.as_str().and_then(|text| text.strip_prefix('#'));
    name.and_then(|name| root.pointer(name)).ok_or_else(|| format!("no {reference}"))
}

fn is_type(rule: &Value, value: &Value) -> bool {
    match rule.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_u64() || value.is_i64(),
        _ => false,
    }
}

fn require(holds: bool, place: &str, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{place}: {why}")) }
}

/// The few patterns of the schema: classes and one group, each with `{n}`, `*` or `+`, and
/// literals.
fn regex(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix('^').and_then(|p| p.strip_suffix('$')).unwrap_or(pattern);
    ends(inner, text).contains(&text.len())
}

/// Where a match of `pattern` that begins at the start of `text` can end.
fn ends(pattern: &str, text: &str) -> Vec<usize> {
    if pattern.is_empty() {
        return vec![0];
    }
    let (atom, rest) = split_atom(pattern);
    let (least, most, rest) = repetition(rest);
    let mut here = vec![0];
    let mut all = if least == 0 { here.clone() } else { Vec::new() };
    for round in 1..=most.min(text.len() + 1) {
        let mut next: Vec<usize> = here
            .iter()
            .flat_map(|&at| atom_ends(atom, &text[at..]).into_iter().map(move |end| at + end))
            .collect();
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            break;
        }
        if round >= least {
            all.extend(&next);
        }
        here = next;
    }
    all.into_iter()
        .flat_map(|at| ends(rest, &text[at..]).into_iter().map(move |end| at + end))
        .collect()
}

fn split_atom(pattern: &str) -> (&str, &str) {
    let end = match pattern.as_bytes()[0] {
        b'[' => pattern.find(']').map_or(pattern.len(), |at| at + 1),
        b'(' => pattern.rfind(')').map_or(pattern.len(), |at| at + 1),
        _ => 1,
    };
    pattern.split_at(end)
}

fn repetition(rest: &str) -> (usize, usize, &str) {
    match rest.as_bytes().first() {
        Some(b'*') => (0, usize::MAX, &rest[1..]),
        Some(b'+') => (1, usize::MAX, &rest[1..]),
        Some(b'{') => {
            let end = rest.find('}').unwrap_or(rest.len() - 1);
            let count = rest[1..end].parse().unwrap_or(1);
            (count, count, &rest[end + 1..])
        }
        _ => (1, 1, rest),
    }
}

fn atom_ends(atom: &str, text: &str) -> Vec<usize> {
    if let Some(group) = atom.strip_prefix('(') {
        return ends(group.trim_end_matches(')'), text);
    }
    let Some(first) = text.chars().next().filter(char::is_ascii) else { return Vec::new() };
    let fits = match atom.strip_prefix('[') {
        Some(class) => in_class(class.trim_end_matches(']'), first),
        None => atom.starts_with(first),
    };
    if fits { vec![1] } else { Vec::new() }
}

fn in_class(class: &str, c: char) -> bool {
    let class: Vec<char> = class.chars().collect();
    let mut at = 0;
    while at < class.len() {
        if at + 2 < class.len() && class[at + 1] == '-' {
            if (class[at]..=class[at + 2]).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if class[at] == c {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("^[a-z0-9]+(-[a-z0-9]+)*$", "no-such-file", true),
            ("^[a-z0-9]+(-[a-z0-9]+)*$", "no--file", false),
            ("^[a-z0-9]+(-[a-z0-9]+)*$", "No", false),
            ("^[0-9]{4}-[0-9]{2}Z$", "2026-11Z", true),
            ("^[0-9]{4}-[0-9]{2}Z$", "2026-1Z", false),
            ("^[A-Za-z0-9+/]*=*$", "aGk=", true),
            ("^[A-Za-z0-9+/]*=*$", "a-", false),
        ] {
            assert_eq!(regex(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_not_as_the_schema_says_is_found() {
        let schema = json!({
            "oneOf": [{"$ref": "#/$defs/a"}],
            "$defs": {"a": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 0}, "s": {"enum": ["x"]}},
                "required": ["n"],
            }},
        });
        for (value, fits) in [
            (json!({"n": 1}), true),
            (json!({"n": 1, "s": "x"}), true),
            (json!({"n": -1}), false),
            (json!({"n": 1.5}), false),
            (json!({"s": "x"}), false),
            (json!({"n": 1, "s": "y"}), false),
            (json!({"n": 1, "more": 1}), false),
            (json!([]), false),
        ] {
            assert_eq!(check(&schema, &value).is_ok(), fits, "{value}");
        }
    }
}
