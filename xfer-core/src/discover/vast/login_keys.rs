//! The keys that an instance is said to let in: a list that comes as a text within the answer.

use crate::discover::LoginKey;
use crate::discover::json::Json;
use crate::transport::ssh::listed_key;

/// Keys that are told of one instance; more help nobody.
const KEYS_MAX: usize = 64;

/// Names under which a key stands in its object.
const NAMES: [&str; 4] = ["public_key", "ssh_key", "key", "pubkey"];

/// Reads the answer. What is no key is passed over: other kinds than are known here exist.
///
/// # Errors
/// Where there is no list.
pub(super) fn read(answer: &Json) -> Result<Vec<LoginKey>, String> {
    let field = answer.get("ssh_keys").ok_or("ssh_keys is not there")?;
    let parsed;
    let list = match field {
        Json::Text(text) => {
            parsed = Json::parse(text.as_bytes()).map_err(|what| format!("ssh_keys: {what}"))?;
            parsed.list()
        }
        other => other.list(),
    };
    let rows = list.ok_or("ssh_keys is no list")?;
    Ok(rows.iter().filter_map(line).filter_map(key).take(KEYS_MAX).collect())
}

fn line(row: &Json) -> Option<&str> {
    let named = || NAMES.iter().find_map(|name| row.get(name)?.text());
    row.text().or_else(named)
}

fn key(line: &str) -> Option<LoginKey> {
    let line = line.lines().next()?.trim();
    // A line of known_hosts is that of authorized_keys with a name before it.
    let key = listed_key(&format!("- {line}"))?;
    let comment = line.splitn(3, [' ', '\t']).nth(2).unwrap_or_default().trim().to_owned();
    Some(LoginKey { fingerprint: key.fingerprint, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 \
                       AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn of(keys: &str) -> Result<Vec<LoginKey>, String> {
        read(&Json::parse(keys.as_bytes()).unwrap())
    }

    #[test]
    fn keys_are_read_from_the_text_and_from_a_list() {
        let row = format!("{KEY} bob@velocity two words");
        let inner = format!(r#"[{{"id":1,"public_key":"{row}"}},{{"id":2,"public_key":"x y"}}]"#);
        let text = format!(r#"{{"success":true,"ssh_keys":{inner:?}}}"#);
        let expected = [LoginKey {
            fingerprint: listed_key(&format!("x {KEY}")).unwrap().fingerprint,
            comment: "bob@velocity two words".to_owned(),
        }];
        assert_eq!(of(&text).unwrap(), expected);
        assert_eq!(of(&format!(r#"{{"ssh_keys":{inner}}}"#)).unwrap(), expected);
        assert_eq!(of(&format!(r#"{{"ssh_keys":["{row}"]}}"#)).unwrap(), expected);
        assert_eq!(of(r#"{"ssh_keys":"[]"}"#).unwrap(), []);
        let bare = of(&format!(r#"{{"ssh_keys":["{KEY}"]}}"#)).unwrap();
        assert_eq!(bare[0].comment, "");
    }

    #[test]
    fn what_is_no_list_tells_nothing() {
        for text in [
            "{}",
            r#"{"ssh_keys":null}"#,
            r#"{"ssh_keys":""}"#,
            r#"{"ssh_keys":"null"}"#,
            r#"{"ssh_keys":"{}"}"#,
            r#"{"ssh_keys":7}"#,
            r#"{"ssh_keys":"[{\"a\":1,\"a\":2}]"}"#,
        ] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
