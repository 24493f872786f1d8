//! Golden vectors in both directions: what we send is what they hold, and what they hold is what we
//! read. A change of the wire shows here first; an appended variant needs a new line and no other
//! may change.
//!
//! `cargo test --release -p xfer-protocol --test vectors -- --ignored` writes the files anew.
#![allow(clippy::unwrap_used)]

mod refused;
mod samples;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use xfer_protocol::codec::{FrameError, FrameHead, HEAD_BYTES};
use xfer_protocol::digest::span_digest;
use xfer_protocol::fault::{FaultKind, Operation};
use xfer_protocol::hello::{HelloProgress, HelloReader};
use xfer_protocol::manifest::{EntryKind, ScanItem};
use xfer_protocol::message::errand::CarryProblemKind;
use xfer_protocol::message::{Message, NewKind, Reply, Request};

const SPEC: &str = include_str!("../SPEC.md");
const FRAMES: &str = include_str!("../vectors/frames.txt");
const HELLOS: &str = include_str!("../vectors/hellos.txt");
const REFUSED: &str = include_str!("../vectors/refused.txt");

#[test]
fn frames_are_what_we_send_and_read() {
    let mut vectors = lines(FRAMES);
    for sample in samples::messages() {
        let golden = vectors.remove(sample.name.as_str()).expect(&sample.name);
        assert_eq!(to_hex(&sample.frame()), golden, "{} as sent", sample.name);
        let (message, payload) = read_frame(&from_hex(golden)).unwrap();
        assert_eq!((message, payload), (sample.message, sample.payload), "as read");
    }
    assert!(vectors.is_empty(), "no sample for {vectors:?}");
}

#[test]
fn hellos_are_what_we_send_and_read() {
    let mut vectors = lines(HELLOS);
    for (name, hello) in samples::hellos() {
        let golden = vectors.remove(name).expect(name);
        assert_eq!(to_hex(&hello.encode()), golden, "{name} as sent");
        let bytes = from_hex(golden);
        let complete = HelloProgress::Complete { hello, taken: bytes.len() };
        assert_eq!(HelloReader::new().read(&bytes), Ok(complete), "{name} as read");
    }
    assert!(vectors.is_empty(), "no sample for {vectors:?}");
}

/// Rows: B-W1, B-W2, B-W3, B-W4.
#[test]
fn what_must_be_refused_is_refused_for_its_reason() {
    let mut vectors = lines(REFUSED);
    for (name, reason, frame) in refused::frames() {
        let golden = vectors.remove(name.as_str()).expect(&name);
        let (golden_reason, hex) = golden.split_once(' ').unwrap();
        assert_eq!(to_hex(&frame), hex, "{name}");
        assert_eq!(golden_reason, reason, "{name}");
        let error = read_frame(&frame).expect_err(&name);
        assert_eq!(reason_of(&error), reason, "{name}: {error}");
    }
    assert!(vectors.is_empty(), "no sample for {vectors:?}");
}

/// Asks the decoder how many variants there are, so that no list here can fall behind.
#[test]
fn every_variant_has_a_vector() {
    let samples = samples::messages();
    let debug: String = samples.iter().map(|s| format!("{:?}\n", s.message)).collect();
    let count = |what: &str| samples.iter().filter(|s| s.name.starts_with(what)).count();
    let distinct = |index: fn(&Message) -> Option<u8>| {
        let all: std::collections::BTreeSet<_> =
            samples.iter().filter_map(|s| index(&s.message)).collect();
        all.len()
    };
    let request = |message: &Message| match message {
        Message::Request(_, request) => Some(first_byte(request)),
        _ => None,
    };
    let reply = |message: &Message| match message {
        Message::Reply(_, Ok(reply)) => Some(first_byte(reply)),
        _ => None,
    };
    assert_eq!(distinct(request), variants::<Request>());
    assert_eq!(distinct(reply), variants::<Reply>());
    assert_eq!(count("fault-"), variants::<FaultKind>());
    assert!(variants::<Operation>() <= variants::<FaultKind>());
    assert_eq!((variants::<Message>(), variants::<ScanItem>()), (6, 4));
    assert_eq!((variants::<EntryKind>(), variants::<NewKind>()), (6, 6));
    for kind in ["Device", "Directory", "Fifo", "HardLink", "Socket", "Symlink"] {
        assert!(debug.contains(&format!("kind: {kind}")), "{kind}");
    }
}

#[test]
fn the_specification_numbers_every_variant() {
    let mut rows = std::collections::BTreeSet::new();
    let mut number = |value: &dyn Numbered| rows.insert(value.row());
    for sample in samples::messages() {
        number(&sample.message);
        match &sample.message {
            Message::Request(_, request) => {
                number(request);
                if let Request::Create(create) = request {
                    for entry in &create.entries {
                        number(&entry.kind);
                    }
                }
            }
            Message::Reply(_, Ok(reply)) => {
                number(reply);
                if let Reply::Carried(carried) = reply
                    && let Err(problem) = &carried.outcome
                {
                    number(&problem.kind);
                }
                if let Reply::ScanBatch(batch) = reply {
                    for item in &batch.items {
                        number(item);
                        if let ScanItem::Entry(entry) = item {
                            number(&entry.kind);
                        }
                    }
                }
            }
            Message::Reply(_, Err(fault)) => {
                number(&fault.kind);
                number(&fault.during);
            }
            Message::End
            | Message::EncodedRequest(..)
            | Message::EncodedReply(..)
            | Message::AcceptingRequest(..) => {}
        }
    }
    let missing: Vec<_> = rows.iter().filter(|row| !SPEC.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let numbered = SPEC.lines().filter(|line| {
        let cell = line.strip_prefix("| ").and_then(|rest| rest.split(' ').next());
        cell.is_some_and(|cell| cell.parse::<u8>().is_ok()) && line.contains("| `")
    });
    let all = variants::<Message>()
        + variants::<Request>()
        + variants::<NewKind>()
        + variants::<Reply>()
        + variants::<CarryProblemKind>()
        + variants::<ScanItem>()
        + variants::<EntryKind>()
        + variants::<FaultKind>()
        + variants::<Operation>();
    assert_eq!(numbered.count(), all);
}

#[test]
fn the_specification_works_its_examples_right() {
    let bytes: Vec<u8> = (0..=250).cycle().take(200_000).collect();
    for (start, end) in [
        (0, 65_536),
        (65_536, 131_072),
        (131_072, 196_608),
        (196_608, 200_000),
        (0, 131_072),
        (131_072, 200_000),
        (0, 200_000),
    ] {
        let digest = span_digest(start as u64, &bytes[start..end], 200_000);
        let row = SPEC.lines().find(|line| line.starts_with(&format!("| {start}..{end}"))).unwrap();
        assert!(row.contains(&format!("`{digest}`")), "{row} should hold {digest}");
    }
    let frame = lines(FRAMES)["request-write-block"];
    let row = SPEC.split("## A frame, byte by byte").nth(1).unwrap();
    let cells = row.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    let shown: String = cells.map(|cell| cell.replace(['`', ' '], "")).collect();
    let digest = &frame[frame.len() - 76..frame.len() - 12];
    assert_eq!(shown.replace("and32bytes", digest), frame);
}

/// A value of an enum with its number on the wire.
trait Numbered {
    fn row(&self) -> String;
}

impl<T: serde::Serialize + std::fmt::Debug> Numbered for T {
    fn row(&self) -> String {
        let debug = format!("{self:?}");
        let name = debug.split(['(', ' ']).next().unwrap();
        format!("| {} | `{name}` |", first_byte(self))
    }
}

#[test]
#[ignore = "writes the vectors anew, when the wire is to change"]
#[expect(clippy::disallowed_methods, reason = "the vectors are files of the sources")]
fn write_vectors() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/");
    let frames =
        samples::messages().into_iter().map(|s| format!("{} {}\n", s.name, to_hex(&s.frame())));
    let hellos = samples::hellos();
    let hellos = hellos.iter().map(|(name, h)| format!("{name} {}\n", to_hex(&h.encode())));
    let refused = refused::frames().into_iter();
    let refused = refused.map(|(name, why, frame)| format!("{name} {why} {}\n", to_hex(&frame)));
    let heads = [
        "# A message's name, and its frame in hexadecimal: head, header, payload.\n",
        "# A hello's name, and its bytes in hexadecimal.\n",
        "# A frame's name, why it must be refused, and its bytes in hexadecimal.\n",
    ];
    for (name, text) in [
        ("frames.txt", heads[0].to_owned() + &frames.collect::<String>()),
        ("hellos.txt", heads[1].to_owned() + &hellos.collect::<String>()),
        ("refused.txt", heads[2].to_owned() + &refused.collect::<String>()),
    ] {
        std::fs::write(folder.to_owned() + name, text).unwrap();
    }
}

/// How many variants an enum has on the wire: an unknown one fails in another way than a known one
/// whose fields are missing.
fn variants<T: DeserializeOwned>() -> usize {
    let known = |index: &u8| {
        !matches!(postcard::from_bytes::<T>(&[*index]), Err(postcard::Error::SerdeDeCustom))
    };
    (0..=127).take_while(known).count()
}

fn first_byte<T: serde::Serialize>(value: &T) -> u8 {
    postcard::to_stdvec(value).unwrap()[0]
}

fn read_frame(bytes: &[u8]) -> Result<(Message, Vec<u8>), FrameError> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().unwrap();
    let head = FrameHead::parse(head)?;
    let (header, payload) = rest.split_at(head.header_length().min(rest.len()));
    Ok((head.decode(header)?, payload.to_vec()))
}

fn reason_of(error: &FrameError) -> String {
    let debug = match error {
        FrameError::Field(field) => format!("{field:?}"),
        other => format!("{other:?}"),
    };
    debug.split(['(', ' ']).next().unwrap().to_owned()
}

fn lines(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
