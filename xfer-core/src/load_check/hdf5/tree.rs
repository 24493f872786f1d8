//! B-trees of version 1: the links of groups, and the pieces of data.

use super::checksums::Fletcher32;
use super::object::Data;
use super::{Checked, Flaw, Hdf5, Stop, UNDEFINED};

/// Kinds of trees.
const OF_LINKS: u8 = 0;
const OF_PIECES: u8 = 1;

/// Bytes of the checksum behind a piece.
const FLETCHER_LENGTH: u64 = 4;

/// What is done with an entry of a leaf: the first two numbers of its key, and where it leads.
type Visit<'a, H> = &'a mut dyn FnMut(&mut H, (u32, u32), u64) -> Checked<()>;

impl Hdf5<'_> {
    /// Goes through the links of a group.
    pub(super) fn group(&mut self, tree: u64, heap: u64) -> Checked<()> {
        let mut window = self.at(heap)?;
        let start = window.position();
        Self::expect(&mut window, b"HEAP")?;
        if window.byte()? != 0 {
            return Err(Stop::broken(start, Flaw::Value));
        }
        window.skip(3)?;
        let length = self.length(&mut window)?;
        let _free = self.length(&mut window)?;
        let names = self.address(&mut window)?;
        self.stretch(names, length)?;
        self.nodes_of(tree, OF_LINKS, u64::from(self.length), &mut |hdf5, _, leaf| {
            hdf5.links(leaf, length)
        })
    }

    /// A leaf of a group's tree; names of its links lie in `names` bytes.
    fn links(&mut self, leaf: u64, names: u64) -> Checked<()> {
        let mut window = self.at(leaf)?;
        let start = window.position();
        self.count_node(start)?;
        Self::expect(&mut window, b"SNOD")?;
        let [version, _] = window.bytes()?;
        if version != 1 {
            return Err(Stop::broken(start, Flaw::Value));
        }
        let count = window.u16()?;
        for _ in 0..count {
            let at = window.position();
            let name = self.address(&mut window)?;
            let object = self.address(&mut window)?;
            let kind = window.u32()?;
            window.skip(4 + 16)?;
            if name >= names {
                return Err(Stop::broken(at, Flaw::Extent));
            }
            match kind {
                0 | 1 => self.look_at(object),
                // A soft link leads to a name.
                2 => {}
                _ => return Err(Stop::broken(at, Flaw::Value)),
            }
        }
        Ok(())
    }

    /// Goes through the pieces of an object's data.
    pub(super) fn pieces(&mut self, data: &Data) -> Checked<()> {
        let Some((tree, sides)) = data.pieces else { return Ok(()) };
        let fletcher = data.fletcher;
        let key = 8 + 8 * u64::from(sides);
        self.nodes_of(tree, OF_PIECES, key, &mut |hdf5, (length, mask), piece| {
            hdf5.piece(piece, length.into(), fletcher.is_some_and(|bit| mask & bit == 0))
        })
    }

    fn piece(&mut self, address: u64, length: u64, has_checksum: bool) -> Checked<()> {
        let mut window = self.stretch(address, length)?;
        let start = window.position();
        self.count_node(start)?;
        if !has_checksum {
            return Ok(());
        }
        let inside =
            length.checked_sub(FLETCHER_LENGTH).ok_or_else(|| Stop::broken(start, Flaw::Extent))?;
        self.spent = self.spent.saturating_add(length);
        if self.spent > self.file.size() {
            return Err(Stop::broken(start, Flaw::Layout));
        }
        let mut sum = Fletcher32::default();
        window.each(inside, |bytes| sum.update(bytes))?;
        if !sum.is(window.u32()?) {
            return Err(Stop::broken(start, Flaw::Checksum));
        }
        self.proven.checksums += 1;
        Ok(())
    }

    /// Gives what the leaves of a tree point to, each with the first two numbers of its key.
    fn nodes_of(&mut self, root: u64, of: u8, key: u64, each: Visit<'_, Self>) -> Checked<()> {
        if root == UNDEFINED {
            return Ok(());
        }
        let mut pending = vec![(root, None)];
        while let Some((address, above)) = pending.pop() {
            let mut window = self.at(address)?;
            let start = window.position();
            self.count_node(start)?;
            Self::expect(&mut window, b"TREE")?;
            let [own, level] = window.bytes()?;
            // Each level is one below, so that no tree is a ring.
            if own != of || above.is_some_and(|above: u8| above.checked_sub(1) != Some(level)) {
                return Err(Stop::broken(start, Flaw::Value));
            }
            let count = window.u16()?;
            window.skip(2 * u64::from(self.address))?;
            for _ in 0..count {
                let mut numbers = window.split(key)?;
                let first = (numbers.left() >= 8).then(|| Ok((numbers.u32()?, numbers.u32()?)));
                let child = self.address(&mut window)?;
                if level > 0 {
                    pending.push((child, Some(level)));
                } else {
                    each(self, first.transpose()?.unwrap_or_default(), child)?;
                }
            }
        }
        Ok(())
    }
}
