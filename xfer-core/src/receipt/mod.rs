//! Durable statements of what was moved and proven.
//!
//! A receipt is text, one JSON object a line: a head, then one line for each entry in the order of
//! paths, then the signature of the head. The head names a BLAKE3 over the lines of the entries and
//! another over what they say, so that a receipt proves its own lines; and the key that signs it.
//! Nothing of xfer is needed to check that: the first line is what was signed (Ed25519), and the
//! lines between it and the last have the digest that `b3sum` computes of them.

mod provenance;
mod reader;

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{EntryKind, ManifestEntry, Metadata};
use xfer_protocol::path::RelPath;

use crate::trust::{PublicKey, SigningKey};

pub use provenance::{Mapped, Provenance, SinceBoot, SourceMachine, bytes_of, digits};
pub use reader::{ReceiptError, ReceiptReader, parse_digest};

/// The name of the form.
pub const SCHEMA: &str = "xfer.receipt/2";

/// The name of an earlier form, which nobody signed.
pub const SCHEMA_UNSIGNED: &str = "xfer.receipt/1";

/// The first line of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptHead {
    /// [`SCHEMA`], or [`SCHEMA_UNSIGNED`].
    pub schema: String,
    /// Names this receipt.
    pub id: String,
    /// When the transfer ended, in seconds since 1970.
    pub time: i64,
    /// Where bytes came from, as typed.
    pub sources: Vec<String>,
    /// Where they went, as typed.
    pub destination: String,
    /// The destination's root as resolved there.
    pub destination_root: PathText,
    /// BLAKE3 over all entries, in hexadecimal.
    pub manifest_root: String,
    /// The weakest level at which any entry is proven.
    pub proof_level: String,
    /// Entries below.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// What filters left out.
    pub excluded: Excluded,
    /// Entries that failed; a receipt with any is no proof of the whole.
    pub failed: u64,
    /// Files that were completed over what they replaced, so that nothing stood under their names
    /// meanwhile; absent where there were none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub in_place: u64,
    /// Its two ends and its moment; absent in the form that nobody signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Box<Provenance>>,
    /// BLAKE3 over the lines of all entries, in hexadecimal; absent where nobody signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<String>,
    /// The public key that signs this line, in hexadecimal; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl ReceiptHead {
    /// Who signed it. Of a head that [`ReceiptReader::check`] gave, that is so.
    #[must_use]
    pub fn signer(&self) -> Option<PublicKey> {
        self.key.as_deref().and_then(PublicKey::parse)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// The last line of a receipt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureLine {
    /// Of the first line with its end, in hexadecimal.
    signature: String,
}

/// What filters left out: to be acknowledged by its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// How many; an excluded directory counts once.
    pub count: u64,
    /// BLAKE3 over the list of their paths, each ended by NUL; absent where there are none.
    pub digest: Option<String>,
}

/// A path in JSON: text where it is UTF-8, else its bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathText {
    /// Valid UTF-8.
    Text(String),
    /// Anything else.
    Bytes {
        /// The bytes.
        base64: String,
    },
}

impl From<&[u8]> for PathText {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: STANDARD.encode(bytes) },
        }
    }
}

impl PathText {
    /// The bytes; `None` where the base64 is none.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Bytes { base64 } => STANDARD.decode(base64).ok(),
        }
    }
}

/// One line of a receipt's entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptEntry {
    /// Where it is below the destination's root.
    pub path: PathText,
    /// `file`, `directory`, `symlink`, `fifo`, `socket` or `device`.
    pub kind: String,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The BLAKE3 of a file, as `b3sum` prints it; absent where it was only assumed, and
    /// where a store made the file of another by itself, so that nobody here read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// What a symbolic link holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<PathText>,
    /// Whether a device is a block device, its major and its minor number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<(bool, u32, u32)>,
    /// Permission bits.
    pub mode: u32,
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, u32),
}

/// Sums the root of a manifest, entry by entry in the order of paths.
#[derive(Debug, Default)]
pub struct ManifestRoot(blake3::Hasher);

impl ManifestRoot {
    /// Adds an entry.
    pub fn add(&mut self, entry: &ManifestEntry) {
        let body = postcard::to_stdvec(entry).unwrap_or_default();
        self.0.update(&(body.len() as u64).to_le_bytes()).update(&body);
    }

    /// The root of what was added.
    #[must_use]
    pub fn root(&self) -> Digest {
        Digest::from_bytes(*self.0.finalize().as_bytes())
    }
}

/// An entry as manifests name it: only what can be compared on any machine.
#[must_use]
pub fn manifest_entry(
    path: RelPath,
    kind: &EntryKind,
    metadata: &Metadata,
    digest: Option<Digest>,
) -> ManifestEntry {
    let kind = match kind {
        EntryKind::File { size, .. } => EntryKind::File { size: *size, allocated: *size },
        other => other.clone(),
    };
    let metadata = Metadata { owner: None, xattrs: Vec::new(), ..metadata.clone() };
    ManifestEntry { path, kind, metadata, digest }
}

/// Writes one line of a receipt.
pub fn write_entry(out: &mut Vec<u8>, entry: &ManifestEntry) {
    let line = ReceiptEntry {
        path: PathText::from(entry.path.as_bytes()),
        kind: kind_name(&entry.kind).to_owned(),
        size: matches!(entry.kind, EntryKind::File { .. }).then(|| entry.kind.size()),
        blake3: entry.digest.map(|d| d.to_string()),
        content: match &entry.kind {
            EntryKind::Symlink { content } => Some(PathText::from(content.as_slice())),
            _ => None,
        },
        device: match entry.kind {
            EntryKind::Device(device) => Some((device.block, device.major, device.minor)),
            _ => None,
        },
        mode: entry.metadata.mode,
        modified: (entry.metadata.modified.seconds, entry.metadata.modified.nanoseconds),
    };
    write_json(out, &line);
}

/// Writes the head of a receipt.
pub fn write_head(out: &mut Vec<u8>, head: &ReceiptHead) {
    write_json(out, head);
}

/// Writes the last line of a receipt, whose head is as [`write_head`] wrote it.
pub fn write_signature(out: &mut Vec<u8>, head: &[u8], key: &SigningKey) {
    write_json(out, &SignatureLine { signature: key.sign(head).to_string() });
}

fn write_json<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    // Plain structs with string keys cannot fail to serialise into memory.
    drop(serde_json::to_writer(&mut *out, value));
    out.push(b'\n');
}

fn kind_name(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::Device(_) => "device",
        EntryKind::Directory => "directory",
        EntryKind::Fifo => "fifo",
        EntryKind::File { .. } => "file",
        EntryKind::Socket => "socket",
        EntryKind::Symlink { .. } => "symlink",
    }
}

/// Writes one line of the form that `b3sum -c` reads, escaping a name as `b3sum` does.
///
/// A name that is not UTF-8, holds U+FFFD or ends with a carriage return cannot be written in a
/// form that every version reads; it is left out and `false` returned.
pub fn write_b3sum_line(out: &mut impl Write, entry: &ManifestEntry) -> std::io::Result<bool> {
    let Some(digest) = entry.digest else { return Ok(true) };
    let Ok(name) = std::str::from_utf8(entry.path.as_bytes()) else { return Ok(false) };
    if name.contains('\u{fffd}') || name.ends_with('\r') {
        return Ok(false);
    }
    // Old versions refuse an escaped carriage return, and all take a plain one within a line.
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n");
    let mark = if escaped == name { "" } else { "\\" };
    writeln!(out, "{mark}{digest}  {escaped}")?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use xfer_protocol::manifest::Device;

    use super::*;

    fn entry(path: &[u8], content: &[u8]) -> ManifestEntry {
        manifest_entry(
            RelPath::new(path).unwrap(),
            &EntryKind::File { size: content.len() as u64, allocated: 4096 },
            &Metadata { mode: 0o640, ..Metadata::default() },
            Some(xfer_protocol::digest::file_digest(content)),
        )
    }

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(&SigningKey::generate_document().unwrap()).unwrap()
    }

    fn receipt(entries: &[ManifestEntry]) -> Vec<u8> {
        signed(entries, |_| ())
    }

    /// A receipt whose head says something else.
    fn signed(entries: &[ManifestEntry], change: impl FnOnce(&mut ReceiptHead)) -> Vec<u8> {
        let (mut root, mut lines, key) = (ManifestRoot::default(), Vec::new(), key());
        entries.iter().for_each(|e| root.add(e));
        entries.iter().for_each(|e| write_entry(&mut lines, e));
        let mut text = Vec::new();
        let mut head = ReceiptHead {
            schema: SCHEMA.into(),
            id: "1".into(),
            time: 1,
            sources: vec!["a".into()],
            destination: "b".into(),
            destination_root: PathText::from(b"/b".as_slice()),
            manifest_root: root.root().to_string(),
            proof_level: "durable".into(),
            entries: entries.len() as u64,
            bytes: entries.iter().map(|e| e.kind.size()).sum(),
            excluded: Excluded::default(),
            failed: 0,
            in_place: 0,
            provenance: Some(Box::default()),
            lines: Some(blake3::hash(&lines).to_string()),
            key: Some(key.public().to_string()),
        };
        change(&mut head);
        write_head(&mut text, &head);
        let signed = text.clone();
        text.extend_from_slice(&lines);
        if head.key.is_some() {
            write_signature(&mut text, &signed, &key);
        }
        text
    }

    fn checked(text: &[u8]) -> Result<ReceiptHead, ReceiptError> {
        ReceiptReader::new(text)?.check(|_, _| ())
    }

    #[test]
    fn a_receipt_proves_its_own_lines() {
        let text = receipt(&[entry(b"a\xff", b"one"), entry(b"b", b"two")]);
        let mut seen = Vec::new();
        ReceiptReader::new(&text[..]).unwrap().check(|_, m| seen.push(m.clone())).unwrap();
        assert_eq!(seen, [entry(b"a\xff", b"one"), entry(b"b", b"two")]);
        let forged = String::from_utf8(text).unwrap().replace("\"size\":3", "\"size\":4");
        assert!(matches!(checked(forged.as_bytes()), Err(ReceiptError::RootMismatch)));
    }

    #[test]
    fn whoever_changes_it_cannot_sign_it() {
        let text = receipt(&[entry(b"a", b"one"), entry(b"b", b"two")]);
        let head = checked(&text).unwrap();
        assert_eq!(head.signer().unwrap().to_string(), head.key.unwrap());
        for at in 0..text.len() {
            let mut forged = text.clone();
            forged[at] ^= 1;
            assert!(checked(&forged).is_err(), "byte {at}: {:?}", char::from(text[at]));
        }
        // Somebody else's key, and a signature that stood elsewhere.
        let text = String::from_utf8(text).unwrap();
        let other =
            String::from_utf8(receipt(&[entry(b"a", b"one"), entry(b"b", b"two")])).unwrap();
        let last = |text: &str| text.lines().last().unwrap().to_owned();
        let forged = text.replace(&last(&text), &last(&other));
        assert!(matches!(checked(forged.as_bytes()), Err(ReceiptError::Forged)));
        for more in ["\n", "{}\n", &format!("{}\n", last(&text))] {
            assert!(checked(format!("{text}{more}").as_bytes()).is_err(), "{more}");
        }
    }

    #[test]
    fn a_line_has_one_form() {
        let text = String::from_utf8(receipt(&[entry(b"a", b"one")])).unwrap();
        for (from, to) in [("{\"schema\"", "{ \"schema\""), (",\"id\"", ",\"x\":1,\"id\"")] {
            let other = text.replacen(from, to, 1);
            let refused = checked(other.as_bytes());
            assert!(matches!(refused, Err(ReceiptError::BadLine { line: 1 })), "{to}");
        }
        // What a line of an entry says beside what is read of it is signed as well.
        let other = text.replacen("\"kind\":\"file\"", "\"kind\": \"file\"", 1);
        assert!(matches!(checked(other.as_bytes()), Err(ReceiptError::RootMismatch)));
    }

    #[test]
    fn a_receipt_of_old_is_read_and_signed_by_nobody() {
        let unsigned = |head: &mut ReceiptHead| {
            head.schema = SCHEMA_UNSIGNED.to_owned();
            (head.lines, head.key) = (None, None);
        };
        let text = signed(&[entry(b"a", b"one")], unsigned);
        assert_eq!(checked(&text).unwrap().signer(), None);
        // One that says that somebody signs it, and who says nothing of that.
        let entries = [entry(b"a", b"one")];
        for text in [
            signed(&entries, |head| head.schema = SCHEMA_UNSIGNED.to_owned()),
            signed(&entries, |head| head.key = None),
            signed(&entries, |head| head.lines = None),
            signed(&entries, |head| head.key = Some("00".to_owned())),
        ] {
            assert!(matches!(checked(&text), Err(ReceiptError::BadLine { line: 1 })));
        }
    }

    #[test]
    fn a_receipt_that_miscounts_is_not_believed() {
        let entries = [entry(b"a", b"one"), entry(b"b", b"two")];
        let miscounts = checked(&signed(&entries, |head| head.bytes = 5));
        assert!(matches!(miscounts, Err(ReceiptError::CountMismatch)));
        for count in [0, 1, 3] {
            assert!(checked(&signed(&entries, |head| head.entries = count)).is_err());
        }
    }

    #[test]
    fn every_kind_of_entry_is_read_as_it_was_written() {
        let kinds = [
            EntryKind::Device(Device { block: true, major: 259, minor: 1 << 20 }),
            EntryKind::Device(Device { block: false, major: 1, minor: 3 }),
            EntryKind::Directory,
            EntryKind::Fifo,
            EntryKind::File { size: 7, allocated: 7 },
            EntryKind::Socket,
            EntryKind::Symlink { content: b"\xff/..".to_vec() },
        ];
        let entries = kinds.iter().zip(0..).map(|(kind, number)| {
            let path = RelPath::new(format!("{number}")).unwrap();
            manifest_entry(path, kind, &Metadata::default(), None)
        });
        let entries: Vec<_> = entries.collect();
        let mut seen = Vec::new();
        let text = receipt(&entries);
        ReceiptReader::new(&text[..]).unwrap().check(|_, m| seen.push(m.clone())).unwrap();
        assert_eq!(seen, entries);
    }

    #[test]
    fn a_cut_receipt_is_no_receipt() {
        let text = receipt(&[entry(b"a", b"one"), entry(b"b", b"two")]);
        for cut in 0..text.len() - 1 {
            let whole = ReceiptReader::new(&text[..cut]).and_then(|r| r.check(|_, _| ()));
            assert!(whole.is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn b3sum_escapes_are_b3sums() {
        let mut out = Vec::new();
        assert!(write_b3sum_line(&mut out, &entry(b"a\\b\nc", b"")).unwrap());
        for name in [&b"\xff"[..], "\u{fffd}".as_bytes(), b"a\r"] {
            assert!(!write_b3sum_line(&mut out, &entry(name, b"")).unwrap());
        }
        let digest = xfer_protocol::digest::file_digest(b"");
        assert_eq!(out, format!("\\{digest}  a\\\\b\\nc\n").as_bytes());
    }
}
