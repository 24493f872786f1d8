//! gzip (RFC 1952): every member is decoded and compared with its CRC-32 and its length.
//!
//! Everything but a member's time, its system and, without the header's own CRC, its name is
//! covered. Zeros behind the last member, which some readers pass over, are what is left of members
//! whose bytes were lost, so they are no sound end here.

use super::inflate::{self, Sum};
use super::window::Window;
use super::{Checked, Flaw, Proven, ReadAt, Stop};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;

/// Bits of the flags: a CRC of the header, further fields, a name, a comment; others are reserved.
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    let mut window = Window::whole(file);
    let mut proven = Proven::default();
    while window.left() > 0 || proven.members == 0 {
        if header(&mut window, file, proven.members == 0)? {
            proven.checksums += 1;
        }
        let mut sum = Sum::new();
        inflate::decode(&mut window, |bytes| {
            sum.update(bytes);
            Ok(())
        })?;
        let trailer = window.position();
        if window.u32()? != sum.crc() {
            return Err(Stop::broken(trailer, Flaw::Checksum));
        }
        if u64::from(window.u32()?) != sum.length & u64::from(u32::MAX) {
            return Err(Stop::broken(trailer + 4, Flaw::Mismatch));
        }
        proven.members += 1;
        proven.checksums += 1;
    }
    Ok(proven)
}

/// Reads a member's header, and says whether it has a checksum.
fn header(window: &mut Window<'_>, file: &dyn ReadAt, is_first: bool) -> Checked<bool> {
    let start = window.position();
    let refuse = |flaw| Err(Stop::broken(start, flaw));
    match window.bytes::<2>() {
        Ok(MAGIC) => {}
        Ok(_) | Err(Stop::Broken { .. }) if !is_first => return refuse(Flaw::Trailing),
        Ok(_) => return refuse(Flaw::Magic),
        Err(stop) => return Err(stop),
    }
    let [method, flags, ..] = window.bytes::<8>()?;
    if method != DEFLATE || flags & RESERVED != 0 {
        return refuse(Flaw::Value);
    }
    if flags & EXTRA != 0 {
        let length = window.u16()?;
        window.skip(length.into())?;
    }
    for text in [NAME, COMMENT] {
        while flags & text != 0 && window.byte()? != 0 {}
    }
    if flags & HEADER_CRC != 0 {
        let length = window.position() - start;
        let crc = Window::of(file, start, length)?.crc(length)?;
        if u32::from(window.u16()?) != crc & 0xffff {
            return refuse(Flaw::Checksum);
        }
    }
    Ok(flags & HEADER_CRC != 0)
}
