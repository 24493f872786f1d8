//! What the program told of a run, by the events that it wrote

use std::path::Path;

use serde_json::Value;

const DAY: f64 = 86_400.0;

/// The payload of one run, as its events told it
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Course {
    /// Seconds from its start until the last event before any payload had moved
    pub(crate) before: f64,
    /// Seconds from there to the last event
    pub(crate) moving: f64,
    /// Payload bytes that had moved by the last event, those under way included
    pub(crate) bytes: u64,
    /// Those that the other side has
    pub(crate) arrived: u64,
    /// Streams that carried it at the end; 0 where it did not come to its end
    pub(crate) streams: u64,
}

impl Course {
    /// Reads a file of events; nothing where no payload moved
    pub(crate) fn read(path: &Path) -> Option<Self> {
        Self::of(&std::fs::read_to_string(path).ok()?)
    }

    fn of(text: &str) -> Option<Self> {
        // A program that was killed leaves half a line.
        let events = text.lines().map_while(|line| serde_json::from_str::<Value>(line).ok());
        let mut began = None;
        let (mut idle_until, mut last) = (0.0, 0.0);
        let mut course = Self::default();
        for event in events {
            let now = seconds(event["time"].as_str()?)?;
            let start = *began.get_or_insert(now);
            last = (now - start).rem_euclid(DAY);
            course.arrived = course.arrived.max(event["payload_bytes"].as_u64().unwrap_or(0));
            course.bytes = course.bytes.max(moved(&event));
            if course.bytes == 0 {
                idle_until = last;
            }
            if event["type"] == "result" {
                course.streams = event["route"]["streams"].as_u64().unwrap_or(0);
            }
        }
        (course.before, course.moving) = (idle_until, last - idle_until);
        (course.bytes > 0).then_some(course)
    }
}

fn moved(event: &Value) -> u64 {
    let files = event["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let done = files.iter().filter_map(|file| file["done"].as_u64()).sum();
    event["payload_bytes"].as_u64().unwrap_or(0).max(done)
}

/// Seconds since midnight
fn seconds(time: &str) -> Option<f64> {
    let (_, clock) = time.trim_end_matches('Z').split_once('T')?;
    let parts = clock.split(':').map(|part| part.parse::<f64>().ok());
    parts.collect::<Option<Vec<_>>>()?.into_iter().reduce(|sum, part| sum * 60.0 + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_the_last_event_without_payload_also_over_midnight() {
        let text = r#"{"time":"2026-01-01T23:59:59.500Z","type":"run"}
            {"time":"2026-01-01T23:59:59.900Z","type":"progress","payload_bytes":0,"files":[]}
            {"time":"2026-01-02T00:00:01.000Z","type":"progress","payload_bytes":0,
            "files":[]}"#;
        let text = text.replace(",\n            \"files\"", ",\"files\"");
        assert_eq!(Course::of(&text), None);
        let text = text
            + "\n{\"time\":\"2026-01-02T00:00:01.100Z\",\"type\":\"progress\",\
               \"payload_bytes\":0,\"files\":[{\"done\":5},{\"done\":2}]}\n\
               {\"time\":\"2026-01-02T00:00:03.000Z\",\"type\":\"result\",\
               \"payload_bytes\":90,\"route\":{\"streams\":4}}\n{\"time\":";
        let course = Course::of(&text).unwrap();
        assert!((course.before - 1.5).abs() < 1e-6 && (course.moving - 2.0).abs() < 1e-6);
        assert_eq!((course.bytes, course.arrived, course.streams), (90, 90, 4));
    }
}
