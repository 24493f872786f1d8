//! zip, with its extension to 64 bits: the central directory, each local header, each member
//! decoded and compared with its CRC-32.
//!
//! What lies between members, times and attributes are not covered by anything.

mod directory;
mod npz;
mod pickle;
mod pytorch;

use super::inflate::{self, Sum};
use super::window::Window;
use super::{Beyond, Checked, Flaw, Proven, ReadAt, Stop};

use directory::{Directory, Entry};
pub(super) use npz::check_alone as check_npy;

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Bits of a member's flags: it is encrypted; its sums stand behind it.
const ENCRYPTED: u16 = 1;
const SUMS_BEHIND: u16 = 8;

/// What is looked at in the members of an archive besides that they are whole.
trait Members {
    /// A member begins, which decoded has that many bytes.
    fn begin(&mut self, name: &[u8], size: u64) -> Checked<()>;

    /// The next bytes of it, decoded.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Flaw>;

    /// It ends, and was whole.
    fn end(&mut self) -> Result<(), Flaw>;

    /// There are no more members.
    fn finish(self) -> Checked<()>;
}

/// Nothing else is.
struct Any;

impl Members for Any {
    fn begin(&mut self, _: &[u8], _: u64) -> Checked<()> {
        Ok(())
    }

    fn take(&mut self, _: &[u8]) -> Result<(), Flaw> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), Flaw> {
        Ok(())
    }

    fn finish(self) -> Checked<()> {
        Ok(())
    }
}

/// Whether an archive is one that PyTorch writes, by the names in its directory.
pub(super) fn is_pytorch(file: &dyn ReadAt) -> Checked<bool> {
    let directory = Directory::find(file)?;
    let mut entries = directory.entries(file)?;
    while let Some(entry) = entries.next()? {
        if entry.name.ends_with(b"/data.pkl") {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    archive(file, Any)
}

pub(super) fn check_npz(file: &dyn ReadAt) -> Checked<Proven> {
    archive(file, npz::Arrays::new())
}

pub(super) fn check_pytorch(file: &dyn ReadAt) -> Checked<Proven> {
    archive(file, pytorch::Storages::new())
}

fn archive(file: &dyn ReadAt, mut members: impl Members) -> Checked<Proven> {
    let directory = Directory::find(file)?;
    let mut entries = directory.entries(file)?;
    let mut proven = Proven::default();
    let mut spent = 0_u64;
    let mut beyond = None;
    while let Some(entry) = entries.next()? {
        match member(file, &directory, &entry, &mut members) {
            Ok(length) => spent = spent.saturating_add(length),
            // Whatever else is broken is worth more than what cannot be told.
            Err(Stop::Beyond(why)) => beyond = Some(why),
            Err(stop) => return Err(stop),
        }
        // Members that overlap cost their bytes again and again.
        if spent > directory.start {
            return Err(Stop::broken(entry.at, Flaw::Layout));
        }
        proven.members += 1;
        proven.checksums += 1;
    }
    match beyond {
        Some(why) => Err(Stop::Beyond(why)),
        None => members.finish().map(|()| proven),
    }
}

/// Decodes a member, and says how many bytes of the file are its own.
fn member(
    file: &dyn ReadAt,
    directory: &Directory,
    entry: &Entry,
    members: &mut impl Members,
) -> Checked<u64> {
    let refuse = |flaw| Err(Stop::broken(entry.at, flaw));
    let Some(room) = directory.start.checked_sub(entry.at) else { return refuse(Flaw::Extent) };
    let mut window = Window::of(file, entry.at, room)?;
    let own_flags = local(&mut window, entry)?;
    if entry.flags & ENCRYPTED != 0 {
        return Err(Stop::Beyond(Beyond::Encrypted));
    }
    let data = window.position();
    let mut stretch =
        window.split(entry.compressed).map_err(|_| Stop::broken(data, Flaw::Extent))?;
    members.begin(&entry.name, entry.size)?;
    let mut sum = Sum::new();
    let mut take = |bytes: &[u8]| {
        sum.update(bytes);
        if sum.length > entry.size { Err(Flaw::Mismatch) } else { members.take(bytes) }
    };
    match entry.method {
        STORED => {
            let mut outcome = Ok(());
            let length = entry.compressed;
            stretch.each(length, |bytes| outcome = outcome.and_then(|()| take(bytes)))?;
            outcome.map_err(|flaw| Stop::broken(data, flaw))?;
        }
        DEFLATED => inflate::decode(&mut stretch, take)?,
        _ => return Err(Stop::Beyond(Beyond::Compression)),
    }
    if sum.length != entry.size || stretch.left() > 0 {
        return Err(Stop::broken(data, Flaw::Mismatch));
    }
    if sum.crc() != entry.crc {
        return Err(Stop::broken(data, Flaw::Checksum));
    }
    if own_flags & SUMS_BEHIND != 0 {
        behind(&mut window, entry)?;
    }
    members.end().map_err(|flaw| Stop::broken(data, flaw))?;
    Ok(window.position() - entry.at)
}

/// Compares a member's own header with the directory, and gives its flags.
fn local(window: &mut Window<'_>, entry: &Entry) -> Checked<u16> {
    let refuse = |flaw| Stop::broken(entry.at, flaw);
    if window.u32()? != LOCAL {
        return Err(refuse(Flaw::Magic));
    }
    let _version = window.u16()?;
    let (flags, method) = (window.u16()?, window.u16()?);
    let _time = window.u32()?;
    let (crc, compressed, size) = (window.u32()?, window.u32()?, window.u32()?);
    let (name_length, extra) = (window.u16()?, window.u16()?);
    let name = window.take(name_length.into(), u16::MAX.into())?;
    window.skip(extra.into())?;
    let differs = |own: u32, told: u64| own != u32::MAX && u64::from(own) != told;
    let sums_differ =
        crc != entry.crc || differs(compressed, entry.compressed) || differs(size, entry.size);
    let is_behind = flags & SUMS_BEHIND != 0;
    if method != entry.method
        || name != entry.name
        || (flags ^ entry.flags) & (ENCRYPTED | SUMS_BEHIND) != 0
        || !is_behind && sums_differ
    {
        return Err(refuse(Flaw::Mismatch));
    }
    Ok(flags)
}

/// Compares the sums that stand behind a member, with a mark before them or without.
fn behind(window: &mut Window<'_>, entry: &Entry) -> Checked<()> {
    let at = window.position();
    let mut crc = window.u32()?;
    if crc == DESCRIPTOR && window.left() >= 4 {
        crc = window.u32()?;
    }
    if crc == entry.crc { Ok(()) } else { Err(Stop::broken(at, Flaw::Mismatch)) }
}
