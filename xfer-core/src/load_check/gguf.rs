//! GGUF, versions 2 and 3: the metadata, each tensor's place and its bytes by shape and type, and
//! all of them within the file.
//!
//! Neither data nor metadata has a checksum: a bit that changed in a value is not found.

use super::window::Window;
use super::{Beyond, Checked, Flaw, Proven, ReadAt, Stop};

const MAGIC: [u8; 4] = *b"GGUF";

/// Where tensors begin unless the metadata tells otherwise: at multiples of it.
const ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &[u8] = b"general.alignment";

/// Bytes of a key or of a tensor's name; the format's own readers take 64 KiB and 64 bytes.
const NAME_MAX: u64 = 64 << 10;

/// Sides of a tensor.
const SIDES_MAX: u32 = 4;

/// Lists within lists.
const DEPTH_MAX: u8 = 4;

/// Types of values that have bytes of their own number.
const UINT32: u32 = 4;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const LIST: u32 = 9;

/// The types of tensors: elements of a block, and its bytes.
const BLOCKS: &[(u32, u64, u64)] = &[
    (0, 1, 4),      // F32
    (1, 1, 2),      // F16
    (2, 32, 18),    // Q4_0
    (3, 32, 20),    // Q4_1
    (6, 32, 22),    // Q5_0
    (7, 32, 24),    // Q5_1
    (8, 32, 34),    // Q8_0
    (9, 32, 36),    // Q8_1
    (10, 256, 84),  // Q2_K
    (11, 256, 110), // Q3_K
    (12, 256, 144), // Q4_K
    (13, 256, 176), // Q5_K
    (14, 256, 210), // Q6_K
    (15, 256, 292), // Q8_K
    (16, 256, 66),  // IQ2_XXS
    (17, 256, 74),  // IQ2_XS
    (18, 256, 98),  // IQ3_XXS
    (19, 256, 50),  // IQ1_S
    (20, 32, 18),   // IQ4_NL
    (21, 256, 110), // IQ3_S
    (22, 256, 82),  // IQ2_S
    (23, 256, 136), // IQ4_XS
    (24, 1, 1),     // I8
    (25, 1, 2),     // I16
    (26, 1, 4),     // I32
    (27, 1, 8),     // I64
    (28, 1, 8),     // F64
    (29, 256, 56),  // IQ1_M
    (30, 1, 2),     // BF16
    (34, 256, 54),  // TQ1_0
    (35, 256, 66),  // TQ2_0
    (39, 32, 17),   // MXFP4
    (40, 64, 36),   // NVFP4
    (41, 128, 18),  // Q1_0
];

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    let mut window = Window::whole(file);
    if window.bytes()? != MAGIC {
        return Err(Stop::broken(0, Flaw::Magic));
    }
    match window.u32()? {
        2 | 3 => {}
        // Version 1, and those whose numbers have the highest byte first.
        1 | 0x0200_0000 | 0x0300_0000 => return Err(Stop::Beyond(Beyond::Feature)),
        _ => return Err(Stop::broken(4, Flaw::Value)),
    }
    let (tensors, values) = (window.u64()?, window.u64()?);
    let mut alignment = ALIGNMENT;
    for _ in 0..values {
        let key = name(&mut window)?;
        let of = window.u32()?;
        if key == ALIGNMENT_KEY {
            let at = window.position();
            alignment = if of == UINT32 { window.u32()?.into() } else { 0 };
            if !alignment.is_power_of_two() {
                return Err(Stop::broken(at, Flaw::Value));
            }
        } else {
            value(&mut window, of, DEPTH_MAX)?;
        }
    }
    let mut end = 0;
    for _ in 0..tensors {
        end = tensor(&mut window, end, alignment)?;
    }
    let start = padded(window.position(), alignment).ok_or_else(|| window.broken(Flaw::Extent))?;
    let Some(data) = file.size().checked_sub(start).filter(|_| tensors > 0) else {
        // What has no tensors, such as a vocabulary, may end with its metadata.
        let is_end = tensors == 0 && file.size() <= start;
        let flaw = if tensors == 0 { Flaw::Trailing } else { Flaw::Truncated };
        return if is_end { Ok(Proven::default()) } else { Err(window.broken(flaw)) };
    };
    let full = padded(end, alignment).ok_or_else(|| window.broken(Flaw::Extent))?;
    if data < end {
        return Err(Stop::broken(file.size(), Flaw::Truncated));
    }
    if data > full {
        return Err(Stop::broken(start + full, Flaw::Trailing));
    }
    Ok(Proven { members: tensors, ..Proven::default() })
}

fn padded(length: u64, alignment: u64) -> Option<u64> {
    length.checked_next_multiple_of(alignment)
}

fn name(window: &mut Window<'_>) -> Checked<Vec<u8>> {
    let at = window.position();
    let length = window.u64()?;
    if length > NAME_MAX {
        return Err(Stop::broken(at, Flaw::Extent));
    }
    let name = window.take(length, NAME_MAX)?;
    match std::str::from_utf8(&name) {
        Ok(text) if !text.is_empty() => Ok(name),
        _ => Err(Stop::broken(at, Flaw::Value)),
    }
}

/// Passes over a value of the metadata.
fn value(window: &mut Window<'_>, of: u32, depth: u8) -> Checked<()> {
    if let Some(length) = length(of) {
        let at = window.position();
        let is_truth = of != BOOL || window.peek()?.is_none_or(|byte| byte <= 1);
        return if is_truth { window.skip(length) } else { Err(Stop::broken(at, Flaw::Value)) };
    }
    match of {
        TEXT => {
            let length = window.u64()?;
            window.skip(length)
        }
        LIST => {
            let depth = depth.checked_sub(1).ok_or(Stop::Beyond(Beyond::Feature))?;
            let of = window.u32()?;
            let count = window.u64()?;
            match length(of).filter(|_| of != BOOL) {
                Some(length) => {
                    let bytes = count.checked_mul(length);
                    window.skip(bytes.ok_or_else(|| window.broken(Flaw::Extent))?)
                }
                // Each of them takes bytes, so the file bounds how many there are.
                None => (0..count).try_for_each(|_| value(window, of, depth)),
            }
        }
        _ => Err(window.broken(Flaw::Value)),
    }
}

/// Bytes of a value whose type says them.
fn length(of: u32) -> Option<u64> {
    Some(match of {
        0 | 1 | BOOL => 1,
        2 | 3 => 2,
        UINT32 | 5 | 6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

/// Reads where a tensor lies, which must be right behind the one before, and gives its end.
fn tensor(window: &mut Window<'_>, before: u64, alignment: u64) -> Checked<u64> {
    let start = window.position();
    let refuse = |flaw| Stop::broken(start, flaw);
    name(window)?;
    let sides = window.u32()?;
    if sides > SIDES_MAX {
        return Err(refuse(Flaw::Value));
    }
    let mut count = 1_u64;
    let mut row = 1;
    for index in 0..sides {
        let side = window.u64()?;
        row = if index == 0 { side } else { row };
        count = count.checked_mul(side).ok_or_else(|| refuse(Flaw::Extent))?;
    }
    let of = window.u32()?;
    let offset = window.u64()?;
    let block = BLOCKS.iter().find(|(number, ..)| *number == of);
    let (_, elements, bytes) = block.ok_or_else(|| refuse(Flaw::Value))?;
    if !row.is_multiple_of(*elements) {
        return Err(refuse(Flaw::Value));
    }
    if Some(offset) != padded(before, alignment) {
        return Err(refuse(Flaw::Layout));
    }
    let length = (count / elements).checked_mul(*bytes);
    length.and_then(|length| offset.checked_add(length)).ok_or_else(|| refuse(Flaw::Extent))
}
