//! HDF5: the superblock, the size of the file, and every object that can be reached from the root
//! group by hard links: its header, its links, where its data lies.
//!
//! Checksums are compared where there are any: superblocks from version 2 on, object headers of
//! version 2, and pieces of data with a Fletcher32. Of the links of a large group of
//! the newer form, and of the newer indexes of pieces, the head alone is looked at. Data without
//! Fletcher32 has no checksum.

mod checksums;
mod object;
mod tree;

use std::collections::BTreeSet;

use super::window::Window;
use super::{Beyond, Checked, Flaw, Proven, ReadAt, Stop};

const MAGIC: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// The superblock stands at the beginning or, behind something else, at one of the first doublings.
const FIRST_PLACE: u64 = 512;
const PLACES: u32 = 24;

/// Objects of one file that are looked at.
const OBJECTS_MAX: usize = 1 << 20;

/// Where an address points to nothing.
const UNDEFINED: u64 = u64::MAX;

/// How a file says numbers, and what was found in it so far.
struct Hdf5<'a> {
    file: &'a dyn ReadAt,
    /// What addresses count from.
    base: u64,
    /// Bytes of an address and of a length.
    address: u8,
    length: u8,
    /// Objects that are still to be looked at, and all that ever were.
    pending: Vec<u64>,
    known: BTreeSet<u64>,
    /// Bytes of pieces with a checksum so far: those that overlap would cost them again and again.
    spent: u64,
    /// Nodes of trees so far: a file cannot have more than it has bytes for.
    nodes: u64,
    proven: Proven,
}

/// Where the superblock stands, if anywhere.
pub(super) fn place(file: &dyn ReadAt) -> Checked<Option<u64>> {
    let doublings = (0..PLACES).map(|power| FIRST_PLACE << power);
    let places = std::iter::once(0).chain(doublings);
    for at in places.take_while(|at| at.saturating_add(8) <= file.size()) {
        if Window::at(file, at).bytes::<8>()? == MAGIC {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    let start = place(file)?.ok_or_else(|| Stop::broken(0, Flaw::Magic))?;
    let (mut hdf5, root) = superblock(file, start)?;
    hdf5.look_at(root);
    while let Some(at) = hdf5.pending.pop() {
        hdf5.object(at)?;
        hdf5.proven.members += 1;
    }
    Ok(hdf5.proven)
}

/// Reads the superblock, and gives the place of the root group's header.
fn superblock(file: &dyn ReadAt, start: u64) -> Checked<(Hdf5<'_>, u64)> {
    let mut window = Window::at(file, start);
    window.skip(8)?;
    let version = window.byte()?;
    let refuse = |flaw| Err(Stop::broken(start + 8, flaw));
    let sizes = match version {
        0 | 1 => {
            let [space, root, _, shared, address, length, _] = window.bytes()?;
            if (space, root, shared) != (0, 0, 0) {
                return refuse(Flaw::Value);
            }
            window.skip(if version == 0 { 8 } else { 12 })?;
            (address, length)
        }
        2 | 3 => {
            let [address, length, flags] = window.bytes()?;
            // Who had it open for writing did not come to its end.
            if version == 3 && flags & 0b101 != 0 {
                return refuse(Flaw::Value);
            }
            (address, length)
        }
        _ => return Err(Stop::Beyond(Beyond::Feature)),
    };
    if !matches!(sizes.0, 2 | 4 | 8) || !matches!(sizes.1, 2 | 4 | 8) {
        return refuse(Flaw::Value);
    }
    let mut hdf5 = Hdf5 {
        file,
        base: 0,
        address: sizes.0,
        length: sizes.1,
        pending: Vec::new(),
        known: BTreeSet::new(),
        spent: 0,
        nodes: 0,
        proven: Proven::default(),
    };
    let base = hdf5.address(&mut window)?;
    let beside = hdf5.address(&mut window)?;
    let end_at = window.position();
    let end = hdf5.address(&mut window)?;
    let root = if version < 2 {
        let driver = hdf5.address(&mut window)?;
        if (beside, driver) != (UNDEFINED, UNDEFINED) {
            return Err(Stop::Beyond(Beyond::Feature));
        }
        let _name = hdf5.address(&mut window)?;
        hdf5.address(&mut window)?
    } else {
        let root = hdf5.address(&mut window)?;
        let length = window.position() - start;
        hdf5.checksum(start, length)?;
        root
    };
    // Where a file was put behind something else, its addresses count from there.
    hdf5.base = base;
    match end.cmp(&file.size()) {
        std::cmp::Ordering::Equal => Ok((hdf5, root)),
        std::cmp::Ordering::Less => Err(Stop::broken(end, Flaw::Trailing)),
        std::cmp::Ordering::Greater if end == UNDEFINED => Err(Stop::broken(end_at, Flaw::Value)),
        std::cmp::Ordering::Greater => Err(Stop::broken(file.size(), Flaw::Truncated)),
    }
}

impl<'a> Hdf5<'a> {
    /// A number of so many bytes; one of ones only is `UNDEFINED`, however long it is.
    fn number(window: &mut Window<'_>, bytes: u8) -> Checked<u64> {
        let mut number = [0; 8];
        let bytes = usize::from(bytes).min(8);
        window.read(&mut number[..bytes])?;
        let is_undefined = number[..bytes].iter().all(|byte| *byte == 0xff);
        Ok(if is_undefined { UNDEFINED } else { u64::from_le_bytes(number) })
    }

    fn address(&self, window: &mut Window<'_>) -> Checked<u64> {
        Self::number(window, self.address)
    }

    fn length(&self, window: &mut Window<'_>) -> Checked<u64> {
        Self::number(window, self.length)
    }

    /// What stands at an address.
    fn at(&self, address: u64) -> Checked<Window<'a>> {
        let at = address.checked_add(self.base).filter(|at| *at < self.file.size());
        let at = at.ok_or_else(|| Stop::broken(self.file.size(), Flaw::Extent))?;
        Ok(Window::at(self.file, at))
    }

    /// What stands at an address, and only so many bytes of it.
    fn stretch(&self, address: u64, length: u64) -> Checked<Window<'a>> {
        let at = address.checked_add(self.base);
        let at = at.ok_or_else(|| Stop::broken(self.file.size(), Flaw::Extent))?;
        Window::of(self.file, at, length)
    }

    /// Puts an object on the list, unless it was there before.
    fn look_at(&mut self, address: u64) {
        if self.known.insert(address) {
            self.pending.push(address);
        }
    }

    fn count_node(&mut self, at: u64) -> Checked<()> {
        self.nodes += 1;
        if self.known.len() > OBJECTS_MAX {
            return Err(Stop::Beyond(Beyond::Memory));
        }
        // A node takes 8 bytes at least, so a file with more of them has a ring.
        let is_ring = self.nodes > self.file.size() / 8;
        if is_ring { Err(Stop::broken(at, Flaw::Layout)) } else { Ok(()) }
    }

    /// Compares the checksum that stands behind bytes of the file.
    fn checksum(&mut self, start: u64, length: u64) -> Checked<()> {
        let mut window = Window::at(self.file, start);
        let bytes = window.take(length, object::HEADER_MAX)?;
        if window.u32()? != checksums::lookup3(&bytes) {
            return Err(Stop::broken(start, Flaw::Checksum));
        }
        self.proven.checksums += 1;
        Ok(())
    }

    fn expect(window: &mut Window<'_>, mark: &[u8; 4]) -> Checked<()> {
        let at = window.position();
        if window.bytes::<4>()? == *mark { Ok(()) } else { Err(Stop::broken(at, Flaw::Magic)) }
    }
}

/// A file with a group, and in it a list of numbers.
#[cfg(any(test, fuzzing))]
pub(super) fn sample() -> Vec<u8> {
    let summed = |mut bytes: Vec<u8>| {
        bytes.extend(checksums::lookup3(&bytes).to_le_bytes());
        bytes
    };
    let long = |number: u64| number.to_le_bytes();
    // A link to the list's header, which begins where the root group's ends.
    let link = [&[6, 12, 0, 0, 1, 0, 1, b'a'][..], &long(48 + 28)].concat();
    let group = [&b"OHDR\x02\x00\x10"[..], &link, &[0; 1]].concat();
    let group = [&group[..6], &[17], &group[7..]].concat();
    let layout = [&[3, 1][..], &long(48 + 28 + 48), &long(16), &[0; 6]].concat();
    let list = [&[1, 0, 2, 0, 1, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0][..], &[8, 0, 24, 0, 0, 0, 0, 0]];
    let list = [&list.concat(), &layout[..]].concat();
    let end = 48 + 28 + 48 + 16;
    let places = [long(0), long(UNDEFINED), long(end), long(48)].concat();
    let superblock = summed([&MAGIC[..], &[2, 8, 8, 0], &places].concat());
    [superblock, summed(group), list, vec![7; 16]].concat()
}
