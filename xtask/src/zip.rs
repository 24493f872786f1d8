//! A zip archive of a few files, the same bytes from the same input

use std::io::Write;
use std::process::{Command, Stdio};

use crate::run::Done;

/// One file to archive
pub(crate) struct Member {
    /// Its path within the archive
    pub(crate) name: String,
    /// Its permission bits
    pub(crate) mode: u32,
    /// Its bytes
    pub(crate) content: Vec<u8>,
}

/// 1980-01-01 00:00:00, the first moment that the format knows
const DATE: [u8; 4] = [0, 0, 0x21, 0];
const VERSION: u16 = 20;
const UTF8_NAMES: u16 = 1 << 11;
const DEFLATE: u16 = 8;
const MADE_ON_UNIX: u16 = 3 << 8;
const REGULAR_FILE: u32 = 0o100_000;
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;

/// The archive of these members, in this order
pub(crate) fn archive(members: &[Member]) -> Done<Vec<u8>> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let offset = width(archive.len())?;
        let (fields, packed) = pack(member)?;
        archive.extend(b"PK\x03\x04");
        archive.extend(VERSION.to_le_bytes());
        archive.extend(&fields);
        archive.extend([0; 2]);
        archive.extend(member.name.as_bytes());
        archive.extend(packed);

        directory.extend(b"PK\x01\x02");
        directory.extend((MADE_ON_UNIX | VERSION).to_le_bytes());
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&fields);
        // No extra field, no comment, first disk, not known to be text.
        directory.extend([0; 8]);
        directory.extend(((REGULAR_FILE | member.mode) << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(member.name.as_bytes());
    }
    let (offset, length) = (width(archive.len())?, width(directory.len())?);
    let count = u16::try_from(members.len()).map_err(|_| "too many files for a zip archive")?;
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    archive.extend([length.to_le_bytes(), offset.to_le_bytes()].concat());
    archive.extend([0; 2]);
    Ok(archive)
}

/// The fields that a member's two headers share, and its compressed bytes
fn pack(member: &Member) -> Done<(Vec<u8>, Vec<u8>)> {
    let compressed = gzip(&member.content)?;
    let body = compressed.len() - GZIP_TRAILER;
    let name = u16::try_from(member.name.len()).map_err(|_| "name too long")?;
    let mut fields = Vec::new();
    fields.extend(UTF8_NAMES.to_le_bytes());
    fields.extend(DEFLATE.to_le_bytes());
    fields.extend(DATE);
    // A gzip file ends with the CRC-32 that zip wants too.
    fields.extend(&compressed[body..body + 4]);
    fields.extend(width(body - GZIP_HEADER)?.to_le_bytes());
    fields.extend(width(member.content.len())?.to_le_bytes());
    fields.extend(name.to_le_bytes());
    Ok((fields, compressed[GZIP_HEADER..body].to_vec()))
}

/// Compresses with gzip, whose file is a bare header, a deflate stream as zip has it, and a trailer
fn gzip(content: &[u8]) -> Done<Vec<u8>> {
    let failed = |error| format!("gzip: {error}");
    let mut child = Command::new("gzip")
        .args(["-9", "--no-name"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut input = child.stdin.take().ok_or("gzip has no input")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(content));
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    let bare = output.stdout.starts_with(&[0x1f, 0x8b, 8, 0]);
    let whole = output.stdout.len() >= GZIP_HEADER + GZIP_TRAILER;
    match output.status.success() && bare && whole {
        true => Ok(output.stdout),
        false => Err(format!("gzip: {} and an unexpected header", output.status)),
    }
}

fn width(length: usize) -> Done<u32> {
    u32::try_from(length).map_err(|_| "over 4 GiB, too long for a zip archive".to_owned())
}
