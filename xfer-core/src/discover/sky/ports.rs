//! Ports that a cluster opened, and where they are dialled.

use std::ops::RangeInclusive;

use super::super::fields::{address, is_host, port, shown};
use super::super::json::Json;

/// Ports of all ranges together; further ones carry nothing that these do not.
const PORTS_MAX: usize = 64;

/// A port that is open, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenPort {
    pub(super) inside: u16,
    pub(super) host: String,
    pub(super) outside: u16,
}

/// The ports that a cluster's record says it asked for: numbers and ranges.
///
/// # Errors
/// Where one of them is none, whose name is then told.
pub(super) fn asked_for(record: &Json) -> Result<Vec<u16>, String> {
    let within = record.get("resources").and_then(|resources| resources.get("ports"));
    let Some(ports) = within.or_else(|| record.get("ports")) else { return Ok(Vec::new()) };
    let single = std::slice::from_ref(ports);
    let mut found = Vec::new();
    for entry in ports.list().unwrap_or(single) {
        let range = match entry {
            Json::Text(text) => range(text),
            other => port(other).map(|number| number..=number),
        };
        let range = range.ok_or_else(|| format!("the port {} is none", shown(entry)))?;
        found.extend(range.take(PORTS_MAX - found.len().min(PORTS_MAX)));
    }
    Ok(found)
}

/// `8081` or `10020-10040`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| port(&Json::Text(text.to_owned()));
    let (low, high) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((low, high)) => (number(low)?, number(high)?),
    };
    (low <= high).then_some(low..=high)
}

/// What `sky status --endpoints` prints: a line `PORT: HOST:PORT` for each.
///
/// # Errors
/// Where a line is about a port that is none, or leads to none.
pub(super) fn endpoints(said: &str) -> Result<Vec<OpenPort>, String> {
    let mut found = Vec::new();
    for line in plain(said).lines() {
        let Some((inside, place)) = line.trim().split_once(": ") else { continue };
        let (inside, place) = (inside.trim(), place.trim());
        let is_word = |text: &str| !text.contains(char::is_whitespace);
        // Sentences are no endpoints.
        if !is_word(inside) || !is_word(place) || !place.contains([':', '/']) {
            continue;
        }
        let inside = range(inside).filter(|range| range.start() == range.end());
        let inside = *inside.ok_or_else(|| format!("the line {line:?} is about no port"))?.start();
        if let Some((host, outside)) =
            dialled(place).map_err(|()| format!("the line {line:?} leads nowhere"))?
            && found.len() < PORTS_MAX
        {
            found.push(OpenPort { inside, host, outside });
        }
    }
    Ok(found)
}

/// Host and port; nothing for a place that is a path of somebody's web address.
fn dialled(place: &str) -> Result<Option<(String, u16)>, ()> {
    let place = ["http://", "https://"]
        .iter()
        .find_map(|scheme| place.strip_prefix(scheme))
        .unwrap_or(place)
        .trim_end_matches('/');
    if place.contains('/') {
        return Ok(None);
    }
    let (host, number) = place.rsplit_once(':').ok_or(())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let number = port(&Json::Text(number.to_owned())).ok_or(())?;
    let is_place = address(host).is_some() || is_host(host);
    if is_place { Ok(Some((host.to_owned(), number))) } else { Err(()) }
}

/// The text without what colours it.
fn plain(said: &str) -> String {
    let mut parts = said.split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.strip_prefix('[').and_then(|code| {
            let end = code.find(|c: char| c.is_ascii_alphabetic())?;
            code.get(end + 1..)
        });
        text.push_str(rest.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(ports: &str) -> Result<Vec<u16>, String> {
        asked_for(
            &Json::parse(format!(r#"{{"resources":{{"ports":{ports}}}}}"#).as_bytes()).unwrap(),
        )
    }

    /// Rows: B-A13.
    #[test]
    fn a_port_is_one_or_the_record_is_none() {
        assert!(asked("null").unwrap().is_empty());
        assert_eq!(
            asked(r#"["8081", 8082, "10020-10022"]"#).unwrap(),
            [8081, 8082, 10020, 10021, 10022]
        );
        assert_eq!(asked("8081").unwrap(), [8081]);
        assert_eq!(asked(r#"["1-65535"]"#).unwrap().len(), PORTS_MAX);
        assert_eq!(asked(r#"["1-65535","2"]"#).unwrap().len(), PORTS_MAX);
        for wrong in [
            r#""10020-10019""#,
            r#""0-65536""#,
            r#""abc""#,
            r#""""#,
            r#""-""#,
            r#""1-""#,
            r#""1-2-3""#,
            r#"" 1""#,
            r#""+1""#,
            r#""65536""#,
            "0",
            "-1",
            "70000",
            "1.5",
            "true",
            "{}",
            "[]",
        ] {
            let said = asked(&format!("[8081,{wrong}]")).expect_err(wrong);
            assert!(said.contains("is none"), "{said}");
        }
    }

    /// Rows: B-A13.
    #[test]
    fn an_endpoint_leads_somewhere_or_is_none() {
        let said = "Fetching endpoints: please wait\n\
                    \u{1b}[34m\u{1b}[1m8081\u{1b}[0m: \u{1b}[36m203.0.113.7:8081\u{1b}[0m\n\
                    8082: http://203.0.113.7:10341/\n8083: host.example:8083\n\
                    8084: http://203.0.113.7/skypilot/default\n8085: [2001:db8::1]:8085\n\n";
        let open =
            |inside, host: &str, outside| OpenPort { inside, host: host.to_owned(), outside };
        let expected = [
            open(8081, "203.0.113.7", 8081),
            open(8082, "203.0.113.7", 10341),
            open(8083, "host.example", 8083),
            open(8085, "2001:db8::1", 8085),
        ];
        assert_eq!(endpoints(said).unwrap(), expected);
        assert_eq!(endpoints("").unwrap(), []);
        for wrong in [
            "abc: 203.0.113.7:8081",
            "0-65536: 203.0.113.7:8081",
            "10020-10019: 203.0.113.7:8081",
            "70000: 203.0.113.7:8081",
            "8081: 203.0.113.7:0",
            "8081: 203.0.113.7:x",
            "8081: 127.0.0.1:8081",
            "8081: 169.254.169.254:80",
            "8081: :8081",
            "8081: -x:8081",
        ] {
            assert!(endpoints(wrong).is_err(), "{wrong}");
        }
    }
}
