//! What was found, for a person.

use std::time::Duration;

use xfer_core::engine::probe::{Closed, Disk, Expected, Machine, Measured, Rates, Resource, Way};
use xfer_core::location::Location;
use xfer_protocol::path::Escaped;
use xfer_protocol::probe::Facts;

use super::super::machines;
use crate::output::amounts;

const HEADS: [&str; 7] = ["way", "round trip", "loss", "MTU", "1 stream", "several", "why"];

/// What follows from a way that crosses a platform's gateway.
const PROXIED: &str = "a transfer of more than --proxy-limit (1 GB) is refused on this way, before \
                       its first byte; ports are fixed when an instance is made";

/// A short table of one machine, with what transfers are to be expected to do.
pub(super) fn text(
    location: &Location,
    machine: &Machine,
    expected: &[&Expected],
    size: Option<u64>,
) -> String {
    let mut text = format!("{location}\n");
    if !machine.ways.is_empty() {
        let rows = machine.ways.iter().map(row);
        let rows: Vec<_> = std::iter::once(HEADS.map(str::to_owned)).chain(rows).collect();
        text.push_str(&aligned(&rows));
    }
    let mut line = |label: &str, value: &str| {
        text.push_str(&format!("  {label:<9} {}\n", Escaped(value.as_bytes())));
    };
    if let Some(taken) = taken(machine) {
        line("takes", &format!("{}: {}", taken.kind.name(), machine.taken_because));
    }
    if machine.rented.is_some() && taken(machine).is_some_and(|way| !way.direct) {
        line("limit", PROXIED);
    }
    for (label, fact) in machine.rented.iter().flat_map(|row| machines::facts(row)) {
        line(label, &fact);
    }
    if let Some(facts) = &machine.facts {
        line("cpu", &cpu(facts));
    }
    match &machine.disk {
        Ok(disk) => line("disk", &disk_text(disk)),
        Err(_) if !machine.unmeasured.is_empty() => {}
        Err(why) => line("disk", &format!("unknown: {why}")),
    }
    machine.unmeasured.iter().for_each(|what| line("unknown", what));
    for expected in expected {
        line(label_of(expected), &estimate(expected, size));
    }
    if !machine.ways.is_empty() {
        let Rates { up, down } = machine.moved;
        let moved = format!("{} sent, {} received", amounts::bytes(up), amounts::bytes(down));
        line("moved", &format!("{moved}, to measure"));
    }
    text
}

/// The way that a transfer takes.
fn taken(machine: &Machine) -> Option<&Way> {
    machine.ways.get(machine.taken?)
}

fn row(way: &Way) -> [String; 7] {
    let kind = way.kind.name().to_owned();
    let why = Escaped(way.reason.as_bytes()).to_string();
    let nothing = || "-".to_owned();
    let Measured { round_trip, loss, path_mtu, one, several, .. } = match way.opened {
        Ok(measured) => measured,
        Err(closed) => {
            let closed = if closed == Closed::Failed { "closed" } else { "absent" };
            let why = format!("{closed}: {why}");
            return [kind, nothing(), nothing(), nothing(), nothing(), nothing(), why];
        }
    };
    let directness = if way.direct { "direct" } else { "proxied" };
    [
        kind,
        round_trip.map_or_else(nothing, |(middle, jitter)| {
            format!("{} ± {}", millis(middle), millis(jitter))
        }),
        loss.map_or_else(nothing, |loss| format!("{:.2} %", loss * 100.0)),
        path_mtu.map_or_else(nothing, |mtu| mtu.to_string()),
        one.map_or_else(nothing, rates),
        several.map_or_else(nothing, |(streams, all)| format!("{streams}: {}", rates(all))),
        format!("{directness}: {why}"),
    ]
}

/// There and back, in bytes a second.
fn rates(rates: Rates) -> String {
    let told = |of: u64| if of > 0 { rate(of) } else { "-".to_owned() };
    format!("{} / {}", told(rates.up), told(rates.down))
}

fn rate(rate: u64) -> String {
    format!("{}/s", amounts::bytes(rate))
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Columns under each other; the last is as long as it is.
fn aligned(rows: &[[String; 7]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(&format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    text
}

fn cpu(facts: &Facts) -> String {
    let cores = if facts.cores == 1 { "core" } else { "cores" };
    let features: Vec<_> = facts.feature_names().collect();
    let (hash, seal) = (rate(facts.hash_rate), rate(facts.seal_rate));
    let memory = match facts.memory_bytes {
        0 => String::new(),
        bytes => format!("; {} of memory", amounts::bytes(bytes)),
    };
    let each = format!("each hashes {hash} and seals {seal}");
    format!("{} {cores} ({}), {each}{memory}", facts.cores, features.join(" "))
}

fn disk_text(disk: &Disk) -> String {
    let inodes = match disk.space.inodes_free {
        Some(inodes) => format!(", {} inodes", amounts::count(inodes)),
        None => String::new(),
    };
    let volatile = if disk.space.volatile { ", lost with the machine's memory" } else { "" };
    let rates = match (disk.rates, &disk.refused) {
        (Some(rates), _) => {
            let cached = if disk.past_cache { "" } else { " (perhaps from the cache)" };
            format!("writes {}, reads {}{cached}", rate(rates.up), rate(rates.down))
        }
        (None, Some(why)) => format!("not tried: {why}"),
        (None, None) => "not tried".to_owned(),
    };
    let free = amounts::bytes(disk.space.bytes_free);
    format!("{}: {rates}; {free}{inodes} free{volatile}", String::from_utf8_lossy(&disk.path))
}

fn label_of(expected: &Expected) -> &'static str {
    match (expected.source, expected.destination) {
        (None, _) => "push",
        (_, None) => "pull",
        _ => "from 1st",
    }
}

fn estimate(expected: &Expected, size: Option<u64>) -> String {
    let estimate = &expected.estimate;
    let limit = match estimate.limit {
        Resource::SourceDisk => "reading at the source",
        Resource::SourceCpu => "the source's processors",
        Resource::Link => "the link",
        Resource::DestinationCpu => "the destination's processors",
        Resource::DestinationDisk => "writing at the destination",
    };
    let time = size.zip(estimate.time).map(|(size, time)| {
        let short = if estimate.exceeds_space { ", which is more than is free there" } else { "" };
        format!("; {} in about {}{short}", amounts::bytes(size), amounts::span(time))
    });
    format!("{}, bound by {limit}{}", rate(estimate.rate), time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use xfer_core::engine::probe::{Estimate, WayKind};
    use xfer_protocol::message::Space;

    use super::*;

    #[test]
    fn a_machine_is_a_short_table() {
        let measured = Measured {
            round_trip: Some((Duration::from_micros(20_440), Duration::from_micros(310))),
            loss: Some(0.0012),
            path_mtu: Some(1500),
            one: Some(Rates { up: 11_200_000, down: 11_400_000 }),
            several: Some((8, Rates { up: 11_600_000, down: 11_700_000 })),
            moved: Rates::default(),
        };
        let way = |kind, opened, reason: &str| Way {
            kind,
            place: String::new(),
            direct: true,
            reason: reason.to_owned(),
            opened,
        };
        let space = Space { bytes_free: 1 << 40, inodes_free: Some(5000), volatile: false };
        let machine = Machine {
            ways: vec![
                way(WayKind::Ssh, Ok(measured), "no proxy"),
                way(WayKind::Quic, Err(Closed::Failed), "nothing\x1b answered"),
            ],
            taken: Some(0),
            taken_because: "it is the only one that is open".to_owned(),
            facts: None,
            disk: Ok(Disk {
                path: b"/data\x1b".to_vec(),
                space,
                rates: None,
                past_cache: false,
                refused: Some("permission denied".to_owned()),
            }),
            unmeasured: Vec::new(),
            moved: Rates { up: 10_000_000, down: 0 },
            rented: None,
        };
        let estimate = Estimate {
            limit: Resource::Link,
            rate: 11_600_000,
            rates: Vec::new(),
            time: Some(Duration::from_secs(8620)),
            exceeds_space: false,
        };
        let expected = Expected { source: None, destination: Some(0), estimate };
        let location = Location::parse(b"host:/data").unwrap();
        let text = text(&location, &machine, &[&expected], Some(100_000_000_000));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = text.lines().map(words).collect();
        let expected = [
            "host:/data",
            "way round trip loss MTU 1 stream several why",
            "ssh 20.4 ms ± 0.3 ms 0.12 % 1500 11.2 MB/s / 11.4 MB/s 8: 11.6 MB/s / 11.7 MB/s \
             direct: no proxy",
            "quic - - - - - closed: nothing\\x1b answered",
            "takes ssh: it is the only one that is open",
            "disk /data\\x1b: not tried: permission denied; 1.0 TB, 5,000 inodes free",
            "push 11.6 MB/s, bound by the link; 100 GB in about 2 h 23 min",
            "moved 10.0 MB sent, 0 B received, to measure",
        ];
        assert_eq!(lines, expected);
        let column = |row: usize, word: &str| {
            let line = text.lines().nth(row).unwrap_or_default();
            line.find(word).map(|byte| line[..byte].chars().count())
        };
        assert_eq!(column(1, "loss"), column(2, "0.12 %"), "{text}");
        assert_eq!(column(1, "why"), column(2, "direct"), "{text}");
        assert_eq!(column(1, "why"), column(3, "closed"), "{text}");
    }

    #[test]
    fn a_bucket_is_told_by_what_was_measured_and_by_what_was_not() {
        let measured = Measured {
            round_trip: Some((Duration::from_micros(31_200), Duration::from_micros(1_900))),
            several: Some((12, Rates { up: 0, down: 95_400_000 })),
            moved: Rates { up: 0, down: 250_000_000 },
            ..Measured::default()
        };
        let way = Way {
            kind: WayKind::Store,
            place: "https://s3.test".to_owned(),
            direct: true,
            reason: "asked at https://s3.test".to_owned(),
            opened: Ok(measured),
        };
        let unmeasured = ["upload: access denied: Put\x1bObject", "free space: it has no end"];
        let machine = Machine {
            ways: vec![way],
            taken: Some(0),
            taken_because: "it is the only one".to_owned(),
            unmeasured: unmeasured.map(str::to_owned).to_vec(),
            moved: measured.moved,
            ..Machine::default()
        };
        let rates = vec![(Resource::Link, 95_400_000)];
        let (limit, rate, time) = (Resource::Link, 95_400_000, None);
        let estimate = Estimate { limit, rate, rates, time, exceeds_space: false };
        let expected = Expected { source: Some(0), destination: None, estimate };
        let location = Location::parse(b"s3://bucket/run7").unwrap();
        let golden = "\
s3://bucket/run7
  way    round trip        loss  MTU  1 stream  several            why
  store  31.2 ms ± 1.9 ms  -     -    -         12: - / 95.4 MB/s  direct: asked at https://s3.test
  takes     store: it is the only one
  unknown   upload: access denied: Put\\x1bObject
  unknown   free space: it has no end
  pull      95.4 MB/s, bound by the link
  moved     0 B sent, 250 MB received, to measure
";
        assert_eq!(text(&location, &machine, &[&expected], None), golden);
    }
}
