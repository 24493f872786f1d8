//! Deflated data, decoded piece by piece.

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::window::{Crc, Window};
use super::{Checked, Flaw};

/// Bytes that are decoded at a time.
const OUTPUT: usize = 64 << 10;

/// Decodes one deflated stream, which begins where the window stands, and leaves the window behind
/// its end.
pub(super) fn decode(
    window: &mut Window<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), Flaw>,
) -> Checked<()> {
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let mut output = vec![0; OUTPUT];
    loop {
        let input = window.fill()?;
        let is_end = input.is_empty();
        let step = inflate(&mut state, input, &mut output, MZFlush::None);
        window.consume(step.bytes_consumed);
        take(&output[..step.bytes_written]).map_err(|flaw| window.broken(flaw))?;
        match step.status {
            Ok(MZStatus::StreamEnd) => return Ok(()),
            // Without input and without output nothing will ever come.
            Ok(_) | Err(MZError::Buf) if is_end && step.bytes_written == 0 => {
                return Err(window.broken(Flaw::Truncated));
            }
            Ok(_) | Err(MZError::Buf) => {}
            Err(_) => return Err(window.broken(Flaw::Decode)),
        }
    }
}

/// Length and CRC-32 of what was decoded.
pub(super) struct Sum {
    crc: Crc,
    pub(super) length: u64,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { crc: Crc::new(), length: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
    }

    pub(super) fn crc(&self) -> u32 {
        self.crc.value()
    }
}
