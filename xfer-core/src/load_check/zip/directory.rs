//! The central directory of a zip archive, which is found from the end.

use super::super::window::Window;
use super::{Beyond, Checked, Flaw, ReadAt, Stop};

const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

/// Bytes of the end of the directory, without a comment, and of what stands before it where 32 bits
/// do not hold a place.
const END_LENGTH: u64 = 22;
const LOCATOR_64_LENGTH: u64 = 20;
const END_64_LENGTH: u64 = 56;

/// The field that holds sizes and places of 64 bits.
const EXTRA_64: u16 = 1;

/// Members, and length and offset of the directory, as its end tells them.
type Counts = (u64, u64, u64);

/// Where the directory lies.
pub(super) struct Directory {
    pub(super) start: u64,
    length: u64,
    entries: u64,
    /// Bytes before the archive's own, which places in it do not count.
    shift: u64,
}

/// What the directory says of a member.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
    /// Where its own header stands.
    pub(super) at: u64,
}

impl Directory {
    pub(super) fn find(file: &dyn ReadAt) -> Checked<Self> {
        let end = end(file)?;
        let mut window = Window::at(file, end);
        window.skip(4)?;
        let disks = (window.u16()?, window.u16()?);
        let counts = (window.u16()?, window.u16()?);
        let (length, offset) = (window.u32()?, window.u32()?);
        let short = (u64::from(counts.1), u64::from(length), u64::from(offset));
        let (stop, (entries, length, offset)) = match far_end(file, end)? {
            None if disks != (0, 0) => return Err(Stop::Beyond(Beyond::Feature)),
            None if counts.0 != counts.1 => return Err(Stop::broken(end, Flaw::Mismatch)),
            None => (end, short),
            Some((at, long)) => {
                let differs = |short: u64, max: u64, long: u64| short != max && short != long;
                if differs(short.0, u16::MAX.into(), long.0)
                    || differs(short.1, u32::MAX.into(), long.1)
                    || differs(short.2, u32::MAX.into(), long.2)
                {
                    return Err(Stop::broken(end, Flaw::Mismatch));
                }
                (at, long)
            }
        };
        let start = stop.checked_sub(length).ok_or_else(|| Stop::broken(end, Flaw::Extent))?;
        let shift = start.checked_sub(offset).ok_or_else(|| Stop::broken(end, Flaw::Extent))?;
        Ok(Self { start, length, entries, shift })
    }

    pub(super) fn entries<'a>(&self, file: &'a dyn ReadAt) -> Checked<Entries<'a>> {
        let window = Window::of(file, self.start, self.length)?;
        Ok(Entries { window, left: self.entries, shift: self.shift })
    }
}

/// Where the end of the directory stands: its mark, and a comment that ends with the file.
fn end(file: &dyn ReadAt) -> Checked<u64> {
    let size = file.size();
    let length = size.min(END_LENGTH + u64::from(u16::MAX));
    let tail = Window::of(file, size - length, length)?.take(length, length)?;
    let comment = |at: usize| Some(u16::from_le_bytes([*tail.get(at + 20)?, *tail.get(at + 21)?]));
    let is_end = |at: &usize| {
        let rest = tail.len() - at;
        tail[*at..].starts_with(&END.to_le_bytes())
            && comment(*at).is_some_and(|length| usize::from(length) + 22 == rest)
    };
    match (0..tail.len()).rev().find(is_end) {
        Some(at) => Ok(size - length + at as u64),
        None if is_archive(file)? => Err(Stop::broken(size, Flaw::Truncated)),
        None => Err(Stop::broken(0, Flaw::Magic)),
    }
}

fn is_archive(file: &dyn ReadAt) -> Checked<bool> {
    if file.size() < 4 {
        return Ok(false);
    }
    Ok(Window::whole(file).u32()? == super::LOCAL)
}

/// The place of the end in 64 bits, and what it tells.
fn far_end(file: &dyn ReadAt, end: u64) -> Checked<Option<(u64, Counts)>> {
    let Some(locator) = end.checked_sub(LOCATOR_64_LENGTH) else { return Ok(None) };
    let mut window = Window::at(file, locator);
    if window.u32()? != LOCATOR_64 {
        return Ok(None);
    }
    window.skip(4)?;
    let told = window.u64()?;
    let before = locator.checked_sub(END_64_LENGTH);
    let is_there = |at: &u64| Window::at(file, *at).u32().is_ok_and(|mark| mark == END_64);
    // Where bytes stand before the archive, the place that is told is not counted from them.
    let at =
        before.filter(is_there).or_else(|| Some(told).filter(|at| *at < locator).filter(is_there));
    let at = at.ok_or_else(|| Stop::broken(locator, Flaw::Extent))?;
    let mut window = Window::at(file, at);
    window.skip(16)?;
    if (window.u32()?, window.u32()?) != (0, 0) {
        return Err(Stop::Beyond(Beyond::Feature));
    }
    let counts = (window.u64()?, window.u64()?);
    if counts.0 != counts.1 {
        return Err(Stop::broken(at, Flaw::Mismatch));
    }
    Ok(Some((at, (counts.1, window.u64()?, window.u64()?))))
}

/// The members in the order of the directory.
pub(super) struct Entries<'a> {
    window: Window<'a>,
    left: u64,
    shift: u64,
}

impl Entries<'_> {
    pub(super) fn next(&mut self) -> Checked<Option<Entry>> {
        let window = &mut self.window;
        if self.left == 0 {
            let is_whole = window.left() == 0;
            return if is_whole { Ok(None) } else { Err(window.broken(Flaw::Mismatch)) };
        }
        self.left -= 1;
        let start = window.position();
        if window.u32()? != CENTRAL {
            return Err(Stop::broken(start, Flaw::Magic));
        }
        window.skip(4)?;
        let (flags, method) = (window.u16()?, window.u16()?);
        window.skip(4)?;
        let crc = window.u32()?;
        let sizes = (window.u32()?, window.u32()?);
        let lengths = (window.u16()?, window.u16()?, window.u16()?);
        let disk = window.u16()?;
        window.skip(6)?;
        let at = window.u32()?;
        let name = window.take(lengths.0.into(), u16::MAX.into())?;
        let extra = window.take(lengths.1.into(), u16::MAX.into())?;
        window.skip(lengths.2.into())?;
        if disk != 0 && disk != u16::MAX {
            return Err(Stop::Beyond(Beyond::Feature));
        }
        let mut long = Long { rest: extra_64(&extra) };
        let refused = Stop::broken(start, Flaw::Extent);
        let Some(size) = long.value(sizes.1) else { return Err(refused) };
        let Some(compressed) = long.value(sizes.0) else { return Err(refused) };
        let at = long.value(at).and_then(|at| at.checked_add(self.shift));
        let Some(at) = at else { return Err(refused) };
        Ok(Some(Entry { name, flags, method, crc, compressed, size, at }))
    }
}

/// Values of 64 bits, in order, for the fields that are too short.
struct Long<'a> {
    rest: &'a [u8],
}

impl Long<'_> {
    fn value(&mut self, short: u32) -> Option<u64> {
        if short != u32::MAX {
            return Some(short.into());
        }
        let (value, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*value))
    }
}

fn extra_64(mut extra: &[u8]) -> &[u8] {
    while let Some(([a, b, c, d], rest)) = extra.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([*c, *d])).min(rest.len());
        let (field, behind) = rest.split_at(length);
        if u16::from_le_bytes([*a, *b]) == EXTRA_64 {
            return field;
        }
        extra = behind;
    }
    &[]
}
