//! What a receipt says of its two ends and of its moment: what a gate asks of it later.

use serde::{Deserialize, Serialize};
use xfer_protocol::message::FilterRules;
use xfer_protocol::path::RelPath;
use xfer_protocol::survey::Container;

use super::{PathText, parse_digest};
use crate::clock::Clock;

/// What tells where the files of a receipt came from, how, when, and how far they went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The machine that they came from; absent where they came from none, or from several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<SourceMachine>,
    /// Which entry of it became which entry of the destination.
    pub mapped: Vec<Mapped>,
    /// The destination's root under the name by which it is opened again: its absolute path on a
    /// machine's disk, elsewhere what a location names it; absent where nothing went anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathText>,
    /// What was left out on purpose; absent where nothing was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterRules>,
    /// How far the destination is: `D0` the same container or volatile, `D1` the same host, `D2`
    /// a store or another host; absent where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
    /// What tells the destination's file system or bucket from others, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// When the transfer ended, by the clock that nobody turns; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_boot: Option<SinceBoot>,
}

impl Provenance {
    /// The same of a transfer that ends now.
    #[must_use]
    pub fn ended(self, clock: &dyn Clock) -> Self {
        let since_boot = clock.since_boot();
        let since_boot = since_boot.map(|(boot, millis)| SinceBoot { boot: digits(&boot), millis });
        Self { since_boot, ..self }
    }
}

/// A moment of the controller, sleep included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinceBoot {
    /// The boot, in hexadecimal.
    pub boot: String,
    /// Milliseconds since it.
    pub millis: u64,
}

/// One source and its place at the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapped {
    /// The entry's absolute path on its machine.
    pub source: PathText,
    /// The entry below the destination's root that it became; empty for the root itself.
    pub entry: PathText,
}

impl Mapped {
    /// The two paths; `None` where they can be none.
    #[must_use]
    pub fn paths(&self) -> Option<(Vec<u8>, RelPath)> {
        let source = self.source.bytes().filter(|path| path.starts_with(b"/"))?;
        Some((source, RelPath::new(self.entry.bytes()?).ok()?))
    }
}

/// A machine as it told of itself at the end of the transfer. What is absent nobody could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceMachine {
    /// Whose it is; empty where no platform rents it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The platform's name of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What its first process calls the container; empty where it has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The random marker on its root file system, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
    /// When process 1 started, in clock ticks since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_process: Option<u64>,
    /// The device of its root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_device: Option<u64>,
    /// BLAKE3 over its table of mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<String>,
    /// The boot id of its kernel, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl SourceMachine {
    /// What a machine of a platform told of itself; of no platform where both names are empty.
    #[must_use]
    pub fn of(platform: Option<String>, id: Option<String>, told: &Container) -> Self {
        Self {
            platform,
            id,
            label: told.label.clone(),
            marker: told.marker.map(|marker| digits(&marker)),
            first_process: told.first_process,
            root_device: told.root_device,
            mounts: told.mounts.map(|mounts| mounts.to_string()),
            boot: told.boot.map(|boot| digits(&boot)),
        }
    }

    /// What the machine told; a part that cannot be one counts as not told.
    #[must_use]
    pub fn container(&self) -> Container {
        Container {
            label: self.label.clone(),
            marker: self.marker.as_deref().and_then(bytes_of),
            first_process: self.first_process,
            root_device: self.root_device,
            mounts: self.mounts.as_deref().and_then(parse_digest),
            boot: self.boot.as_deref().and_then(bytes_of),
        }
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`digits`] writes of so many bytes.
#[must_use]
pub fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use xfer_protocol::digest::Digest;

    use super::*;

    #[test]
    fn a_machine_is_read_as_it_was_written() {
        let told = Container {
            label: Some(String::new()),
            marker: Some([7; 16]),
            first_process: Some(9),
            root_device: None,
            mounts: Some(Digest::from_bytes([3; 32])),
            boot: Some([0xff; 16]),
        };
        let machine = SourceMachine::of(Some("vast".into()), Some("1".into()), &told);
        let text = serde_json::to_string(&machine).unwrap();
        let read: SourceMachine = serde_json::from_str(&text).unwrap();
        assert_eq!((read.container(), read), (told, machine));
    }

    #[test]
    fn what_cannot_be_counts_as_untold() {
        for text in ["", "07", &"0".repeat(31), &"g".repeat(32), &"é".repeat(16)] {
            let machine = SourceMachine { boot: Some(text.to_owned()), ..SourceMachine::default() };
            assert_eq!(machine.container().boot, None, "{text}");
        }
        for (source, entry) in [("workspace", ""), ("/a", "../b"), ("/a", "/b"), ("", "")] {
            let path = |text: &str| PathText::from(text.as_bytes());
            let mapped = Mapped { source: path(source), entry: path(entry) };
            assert_eq!(mapped.paths(), None, "{source} {entry}");
        }
    }
}
