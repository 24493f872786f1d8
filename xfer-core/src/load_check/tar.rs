//! tar, of every make: each header's checksum, each size, and the end.
//!
//! The data of members has no checksum. An archive ends with two blocks of zeros, or with the file
//! right behind a member, so one that was cut between two members looks whole, and so does one that
//! lost padding. Zeros behind the end that no writer pads with are what is left of members.

use super::window::Window;
use super::{Checked, Flaw, Proven, ReadAt, Stop};

const BLOCK: u64 = 512;

/// Zeros behind the last member: two blocks, and what fills a record of the usual 20 blocks.
const PADDING_MAX: u64 = 20 * BLOCK + 2 * BLOCK;

/// Bytes of a pax header that are read for a member's size.
const PAX_MAX: u64 = 1 << 20;

/// Where the checksum stands in a header.
const CHECKSUM: std::ops::Range<usize> = 148..156;

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    let mut window = Window::whole(file);
    let mut proven = Proven::default();
    // A size that a pax header told of the next member, and whether one must follow.
    let mut told = None;
    let mut is_awaited = false;
    while window.left() > 0 {
        let start = window.position();
        let header: [u8; 512] = window.bytes()?;
        if header == [0; 512] {
            return end(file, start, proven, is_awaited);
        }
        if !holds(&header) {
            let flaw = if proven.members == 0 { Flaw::Magic } else { Flaw::Checksum };
            return Err(Stop::broken(start, flaw));
        }
        proven.checksums += 1;
        let kind = header[156];
        let size =
            number(&header[124..136]).ok_or_else(|| Stop::broken(start + 124, Flaw::Value))?;
        let size = match kind {
            b'x' | b'g' | b'L' | b'K' => size,
            // Links and directories have no bytes, whatever size is told.
            b'1'..=b'6' => 0,
            _ => told.unwrap_or(size),
        };
        if kind == b'S' {
            sparse(&mut window, &header)?;
        }
        let length = size.div_ceil(BLOCK).checked_mul(BLOCK);
        let length = length.ok_or_else(|| Stop::broken(start + 124, Flaw::Value))?;
        is_awaited = match kind {
            b'x' | b'L' | b'K' => true,
            b'g' => is_awaited,
            _ => false,
        };
        if kind == b'x' || kind == b'g' {
            let text = window.split(length)?.take(size, PAX_MAX)?;
            let size = pax_size(&text).map_err(|flaw| Stop::broken(start + BLOCK, flaw))?;
            if kind == b'x' {
                told = size;
            }
        } else {
            window.skip(length)?;
            if !is_awaited {
                told = None;
                proven.members += 1;
            }
        }
    }
    match proven.members {
        0 => Err(Stop::broken(window.position(), Flaw::Truncated)),
        _ if is_awaited => Err(Stop::broken(window.position(), Flaw::Truncated)),
        _ => Ok(proven),
    }
}

/// Looks at what stands where an archive ends.
fn end(file: &dyn ReadAt, start: u64, proven: Proven, is_awaited: bool) -> Checked<Proven> {
    let mut rest = Window::at(file, start);
    let zeros = rest.zeros()?;
    if rest.left() > 0 {
        return Err(rest.broken(Flaw::Trailing));
    }
    // An archive without a member is zeros as a whole, and nobody could tell it from a lost one.
    if zeros > PADDING_MAX || proven.members == 0 || is_awaited {
        return Err(Stop::broken(start, Flaw::Zeroed));
    }
    if zeros < 2 * BLOCK || !file.size().is_multiple_of(BLOCK) {
        return Err(rest.broken(Flaw::Truncated));
    }
    Ok(proven)
}

fn holds(header: &[u8; 512]) -> bool {
    let Some(told) = number(&header[CHECKSUM]) else { return false };
    let byte = |(at, byte): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { *byte };
    let bytes = || header.iter().enumerate().map(byte);
    let sum: u64 = bytes().map(u64::from).sum();
    // Some writers of old added the bytes up with a sign.
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    told == sum || i64::try_from(told) == Ok(signed)
}

/// A number of a header: octal digits, or with the highest bit set the bytes themselves.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 {
        let (high, low) = rest.split_at(rest.len().checked_sub(8)?);
        let low = low.try_into().ok()?;
        return high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(low));
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let digits = field.iter().skip_while(|byte| blank(byte));
    let mut value = 0_u64;
    let mut is_over = false;
    for byte in digits {
        match byte {
            b'0'..=b'7' if !is_over => value = value.checked_mul(8)? + u64::from(byte - b'0'),
            byte if blank(byte) => is_over = true,
            _ => return None,
        }
    }
    Some(value)
}

/// The blocks with which a sparse file's map goes on.
fn sparse(window: &mut Window<'_>, header: &[u8; 512]) -> Checked<()> {
    let mut goes_on = header[482] != 0;
    while goes_on {
        goes_on = window.bytes::<512>()?[504] != 0;
    }
    Ok(())
}

/// The size that a pax header tells of the next member, if any.
fn pax_size(text: &[u8]) -> Result<Option<u64>, Flaw> {
    let mut told = None;
    let mut rest = text;
    while !rest.is_empty() {
        let blank = rest.iter().position(|byte| *byte == b' ').ok_or(Flaw::Syntax)?;
        let length = decimal(&rest[..blank]).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length > blank && *length <= rest.len());
        let (record, behind) = rest.split_at(length.ok_or(Flaw::Syntax)?);
        let record = record[blank..].strip_suffix(b"\n").ok_or(Flaw::Syntax)?;
        if let Some(size) = record.strip_prefix(b" size=") {
            told = Some(decimal(size).ok_or(Flaw::Syntax)?);
        }
        rest = behind;
    }
    Ok(told)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_writers_have_them() {
        let rows: [(&[u8], Option<u64>); 9] = [
            (b"0000644\0", Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"644\0    ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"64 4\0", None),
            (b"\x80\0\0\x02\0\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(1 << 33)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, value) in rows {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn a_pax_header_is_records_to_its_end() {
        assert_eq!(pax_size(b"12 path=abc\n13 size=1234\n"), Ok(Some(1234)));
        assert_eq!(pax_size(b"12 path=abc\n"), Ok(None));
        for text in ["12 path=ab\n", "0 a=b\n", "x", "12 path=abc\n\0", "9 size=x\n", " \n"] {
            assert_eq!(pax_size(text.as_bytes()), Err(Flaw::Syntax), "{text:?}");
        }
    }
}
