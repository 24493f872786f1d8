//! Headers of objects, and the messages in them that lead on.

use super::super::window::Window;
use super::{Beyond, Checked, Flaw, Hdf5, Stop, UNDEFINED};

/// Bytes of one block of a header, and of all of them.
pub(super) const HEADER_MAX: u64 = 16 << 20;

/// Blocks with which one header goes on.
const BLOCKS_MAX: usize = 4_096;

/// Messages that lead on.
const LINK_INFO: u16 = 2;
const LINK: u16 = 6;
const LAYOUT: u16 = 8;
const FILTERS: u16 = 11;
const CONTINUATION: u16 = 16;
const SYMBOLS: u16 = 17;

const FLETCHER32: u16 = 3;

/// What a header says of the object's data.
#[derive(Default)]
pub(super) struct Data {
    /// Whether each piece ends with a checksum, and which bit says that one does not.
    pub(super) fletcher: Option<u32>,
    /// The tree of pieces, and how many sides these have.
    pub(super) pieces: Option<(u64, u8)>,
}

/// A header while it is read.
struct Header {
    is_newer: bool,
    /// Whether messages say when they were made.
    has_order: bool,
    blocks: Vec<(u64, u64)>,
    data: Data,
}

impl Hdf5<'_> {
    /// Reads an object's header, and goes where it leads.
    pub(super) fn object(&mut self, address: u64) -> Checked<()> {
        let mut window = self.at(address)?;
        let start = window.position();
        self.count_node(start)?;
        let data = Data::default();
        let mut header = Header { is_newer: false, has_order: false, blocks: vec![], data };
        if window.peek()? == Some(b'O') {
            self.newer(&mut header, window)?;
        } else {
            let [version, _] = window.bytes()?;
            if version != 1 {
                return Err(Stop::broken(start, Flaw::Magic));
            }
            let _messages = window.u16()?;
            let _links = window.u32()?;
            let length = window.u32()?;
            window.skip(4)?;
            self.messages(&mut header, window.split(length.into())?)?;
        }
        let mut done = 0;
        while let Some((address, length)) = header.blocks.get(done).copied() {
            done += 1;
            if done > BLOCKS_MAX {
                return Err(Stop::broken(start, Flaw::Layout));
            }
            self.block(&mut header, address, length)?;
        }
        match header.data.pieces {
            Some(_) => self.pieces(&header.data),
            None => Ok(()),
        }
    }

    /// The first block of a header of version 2.
    fn newer(&mut self, header: &mut Header, mut window: Window<'_>) -> Checked<()> {
        let start = window.position();
        Self::expect(&mut window, b"OHDR")?;
        let [version, flags] = window.bytes()?;
        if version != 2 {
            return Err(Stop::broken(start, Flaw::Value));
        }
        header.is_newer = true;
        header.has_order = flags & 4 != 0;
        window.skip(if flags & 0x20 != 0 { 16 } else { 0 })?;
        window.skip(if flags & 0x10 != 0 { 4 } else { 0 })?;
        let length = Self::number_plain(&mut window, 1 << (flags & 3))?;
        let messages = window.split(length)?;
        self.checksum(start, window.position() - start)?;
        self.messages(header, messages)
    }

    /// A further block of a header.
    fn block(&mut self, header: &mut Header, address: u64, length: u64) -> Checked<()> {
        let mut window = self.stretch(address, length)?;
        let start = window.position();
        self.count_node(start)?;
        if !header.is_newer {
            return self.messages(header, window);
        }
        Self::expect(&mut window, b"OCHK")?;
        let inside = length.checked_sub(8).ok_or_else(|| Stop::broken(start, Flaw::Extent))?;
        self.checksum(start, length - 4)?;
        self.messages(header, window.split(inside)?)
    }

    fn messages(&mut self, header: &mut Header, mut window: Window<'_>) -> Checked<()> {
        let own: u64 = match (header.is_newer, header.has_order) {
            (false, _) => 8,
            (true, false) => 4,
            (true, true) => 6,
        };
        // What is shorter than a message's beginning is a gap.
        while window.left() >= own {
            let (of, length);
            if header.is_newer {
                of = u16::from(window.byte()?);
                length = window.u16()?;
                window.skip(own - 3)?;
            } else {
                of = window.u16()?;
                length = window.u16()?;
                window.skip(4)?;
            }
            let message = window.split(length.into())?;
            self.message(header, of, message)?;
        }
        Ok(())
    }

    fn message(&mut self, header: &mut Header, of: u16, mut window: Window<'_>) -> Checked<()> {
        match of {
            CONTINUATION => {
                let block = (self.address(&mut window)?, self.length(&mut window)?);
                header.blocks.push(block);
                Ok(())
            }
            SYMBOLS => {
                let (tree, heap) = (self.address(&mut window)?, self.address(&mut window)?);
                self.group(tree, heap)
            }
            LINK_INFO => self.link_info(&mut window),
            LINK => self.link(&mut window),
            LAYOUT => self.layout(header, &mut window),
            FILTERS => {
                header.data.fletcher = filters(&mut window)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Where a large group of the newer form keeps its links.
    fn link_info(&mut self, window: &mut Window<'_>) -> Checked<()> {
        let [_, flags] = window.bytes()?;
        window.skip(if flags & 1 != 0 { 8 } else { 0 })?;
        for mark in [b"FRHP", b"BTHD"] {
            let address = self.address(window)?;
            if address != UNDEFINED {
                self.marked(address, mark)?;
            }
        }
        Ok(())
    }

    /// A link of a small group of the newer form.
    fn link(&mut self, window: &mut Window<'_>) -> Checked<()> {
        let [version, flags] = window.bytes()?;
        if version != 1 {
            return Err(window.broken(Flaw::Value));
        }
        let kind = if flags & 8 != 0 { window.byte()? } else { 0 };
        window.skip(if flags & 4 != 0 { 8 } else { 0 })?;
        window.skip(u64::from(flags >> 4 & 1))?;
        let length = Self::number_plain(window, 1 << (flags & 3))?;
        window.skip(length)?;
        if kind == 0 {
            let address = self.address(window)?;
            self.look_at(address);
        }
        Ok(())
    }

    /// Where data lies.
    fn layout(&mut self, header: &mut Header, window: &mut Window<'_>) -> Checked<()> {
        let start = window.position();
        let [version, class] = window.bytes()?;
        match (version, class) {
            (3..=5, 0) => {
                let length = window.u16()?;
                window.skip(length.into())
            }
            (3..=5, 1) => {
                let (address, length) = (self.address(window)?, self.length(window)?);
                match address {
                    UNDEFINED => Ok(()),
                    address => self.stretch(address, length).map(|_| ()),
                }
            }
            (3, 2) => {
                let sides = window.byte()?;
                let tree = self.address(window)?;
                if tree != UNDEFINED {
                    header.data.pieces = Some((tree, sides));
                }
                Ok(())
            }
            (4 | 5, 2) => self.index(window),
            // Version 1 and 2 were written until 2006; what is virtual lies elsewhere.
            (1 | 2, _) | (4 | 5, 3) => Ok(()),
            (6.., _) => Err(Stop::Beyond(Beyond::Feature)),
            _ => Err(Stop::broken(start, Flaw::Value)),
        }
    }

    /// The newer indexes of pieces, by the mark with which they begin.
    fn index(&mut self, window: &mut Window<'_>) -> Checked<()> {
        let [flags, sides, bytes] = window.bytes()?;
        window.skip(u64::from(sides) * u64::from(bytes))?;
        let at = window.position();
        let (inside, mark): (u64, Option<&[u8; 4]>) = match window.byte()? {
            1 if flags & 2 != 0 => (u64::from(self.length) + 4, None),
            1 | 2 => (0, None),
            3 => (1, Some(b"FAHD")),
            4 => (5, Some(b"EAHD")),
            5 => (6, Some(b"BTHD")),
            _ => return Err(Stop::broken(at, Flaw::Value)),
        };
        window.skip(inside)?;
        let address = self.address(window)?;
        match (address, mark) {
            (UNDEFINED, _) => Ok(()),
            (address, None) => self.at(address).map(|_| ()),
            (address, Some(mark)) => self.marked(address, mark),
        }
    }

    /// The head of a heap or of an index, as far as its checksum.
    fn marked(&mut self, address: u64, mark: &[u8; 4]) -> Checked<()> {
        let mut window = self.at(address)?;
        let start = window.position();
        Self::expect(&mut window, mark)?;
        let (addresses, lengths) = (u64::from(self.address), u64::from(self.length));
        let inside = match mark {
            b"FRHP" => {
                let [_, _, _, filters, more, ..] = window.bytes::<10>()?;
                // With filters the head is longer, by as much as these take.
                let filters = u64::from(u16::from_le_bytes([filters, more]));
                let more = if filters > 0 { lengths + 4 + filters } else { 0 };
                22 + 12 * lengths + 3 * addresses + more
            }
            b"BTHD" => 18 + addresses + lengths,
            b"FAHD" => 8 + lengths + addresses,
            _ => 12 + 6 * lengths + addresses,
        };
        self.checksum(start, inside)
    }

    /// A number of so many bytes, all of which may be ones.
    fn number_plain(window: &mut Window<'_>, bytes: usize) -> Checked<u64> {
        let mut number = [0; 8];
        window.read(&mut number[..bytes.min(8)])?;
        Ok(u64::from_le_bytes(number))
    }
}

/// Whether the last filter is a checksum, and by which bit a piece says that it has none.
fn filters(window: &mut Window<'_>) -> Checked<Option<u32>> {
    let [version, count] = window.bytes()?;
    window.skip(if version == 1 { 6 } else { 0 })?;
    let mut last = None;
    for index in 0..count {
        let of = window.u16()?;
        let has_name = version == 1 || of >= 256;
        let name = if has_name { window.u16()? } else { 0 };
        let _flags = window.u16()?;
        let values = window.u16()?;
        // In version 1 a name and the values fill multiples of 8 bytes.
        let name = if version == 1 { name.next_multiple_of(8) } else { name };
        window.skip(name.into())?;
        window.skip(u64::from(values) * 4)?;
        window.skip(if version == 1 && values % 2 == 1 { 4 } else { 0 })?;
        last = (of == FLETCHER32).then_some(1_u32.checked_shl(index.into()).unwrap_or(0));
    }
    Ok(last)
}
