//! Zstandard (RFC 8878): every frame is decoded, and its checksum compared where it has one.
//!
//! Of a frame without a checksum only what the decoder cannot read is found.

use zstd::stream::raw::{Decoder, Operation};
use zstd::zstd_safe::DParameter;

use super::window::Window;
use super::{Beyond, Checked, Flaw, Proven, ReadAt, Stop};

const MAGIC: u32 = 0xfd2f_b528;

/// Frames that only carry something beside the data have sixteen magic numbers.
const SKIPPABLE: u32 = 0x184d_2a50;

/// A window beyond 128 MiB needs a flag with the format's own tool, too.
const WINDOW_LOG_MAX: u32 = 27;

/// A block of 4 bytes stands for 128 KiB at most, so a frame cannot be longer than that times its
/// bytes.
const RATIO_MAX: u64 = 32 << 10;

/// Bytes that are decoded at a time.
const OUTPUT: usize = 128 << 10;

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    let mut window = Window::whole(file);
    let mut proven = Proven::default();
    while window.left() > 0 || proven.members == 0 {
        let start = window.position();
        let magic = match Window::at(file, start).u32() {
            Err(Stop::Broken { .. }) if start > 0 => return Err(window.broken(Flaw::Trailing)),
            magic => magic?,
        };
        if magic & !0xf == SKIPPABLE {
            window.skip(4)?;
            let length = window.u32()?;
            window.skip(length.into())?;
        } else if magic == MAGIC {
            proven.checksums += u64::from(header(file, start)?);
            frame(&mut window)?;
        } else {
            let flaw = if start == 0 { Flaw::Magic } else { Flaw::Trailing };
            return Err(window.broken(flaw));
        }
        proven.members += 1;
    }
    Ok(proven)
}

/// Looks at a frame's header before the decoder takes memory for it, and says whether it has a
/// checksum.
fn header(file: &dyn ReadAt, start: u64) -> Checked<bool> {
    let mut window = Window::at(file, start);
    window.skip(4)?;
    let descriptor = window.byte()?;
    let is_single = descriptor & 0x20 != 0;
    let mut needed = 0;
    if !is_single {
        let byte = window.byte()?;
        let base = 1_u64 << (10 + (byte >> 3));
        needed = base + base / 8 * u64::from(byte & 7);
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let mut id = [0; 4];
    window.read(&mut id[..dictionary])?;
    if id != [0; 4] {
        return Err(Stop::Beyond(Beyond::Feature));
    }
    let bytes = match descriptor >> 6 {
        0 => usize::from(is_single),
        more => 1 << more,
    };
    let mut size = [0; 8];
    window.read(&mut size[..bytes])?;
    // Of two bytes the first 256 sizes are left out, for one byte says those.
    let size = u64::from_le_bytes(size) + if bytes == 2 { 256 } else { 0 };
    if size / RATIO_MAX > window.left() {
        return Err(Stop::broken(start, Flaw::Extent));
    }
    needed = if is_single { size } else { needed };
    if needed > 1 << WINDOW_LOG_MAX {
        return Err(Stop::Beyond(Beyond::Memory));
    }
    Ok(descriptor & 4 != 0)
}

/// Decodes one frame, and leaves the window behind its end.
fn frame(window: &mut Window<'_>) -> Checked<()> {
    let mut decoder = Decoder::new().map_err(Stop::Read)?;
    let limit = DParameter::WindowLogMax(WINDOW_LOG_MAX);
    decoder.set_parameter(limit).map_err(Stop::Read)?;
    let mut output = vec![0; OUTPUT];
    loop {
        let input = window.fill()?;
        let is_end = input.is_empty();
        let Ok(step) = decoder.run_on_buffers(input, &mut output) else {
            return Err(window.broken(Flaw::Decode));
        };
        window.consume(step.bytes_read);
        match (step.remaining, step.bytes_written) {
            (0, _) => return Ok(()),
            (_, 0) if is_end => return Err(window.broken(Flaw::Truncated)),
            _ => {}
        }
    }
}
