//! A file that comes in one answer, from its beginning to its end, and no other way.
//!
//! Blocks are cut from it as they are asked for. Those that are asked for a little out of order are
//! found among the last bytes that came; what lies farther back begins the answer anew.

use bytes::{Buf, Bytes, BytesMut};
use xfer_protocol::range::ByteRange;

use super::fetch::Fetcher;
use super::file::{Pin, RemoteFile};
use super::problem::WebProblem;
use crate::transport::web::WebAnswer;

/// The last bytes that came and are kept.
const WINDOW: u64 = 32 << 20;

/// An answer under way.
#[derive(Default)]
pub(super) struct Sequence {
    answer: Option<WebAnswer>,
    /// Where the window begins.
    start: u64,
    window: BytesMut,
    /// Whether any of it was given away.
    used: bool,
}

impl Sequence {
    /// Bytes of the answer, begun anew where they are past.
    pub(super) async fn read(
        &mut self,
        file: &RemoteFile,
        fetcher: &Fetcher,
        range: ByteRange,
    ) -> Result<Bytes, WebProblem> {
        if range.start() < self.start || (self.answer.is_none() && range.end() > self.end()) {
            // Two answers are of one state where something says so.
            if self.used && file.pin == Pin::Nothing {
                return Err(WebProblem::Changed);
            }
            self.shut();
            let answer = file.open(fetcher).await?;
            self.answer = Some(answer);
        }
        let size = file.size.unwrap_or_default();
        while self.end() < range.end() {
            self.take(range.start(), size).await?;
        }
        if self.end() == size && range.end() == size {
            self.close(size).await?;
        }
        self.used = true;
        let from = in_memory(range.start() - self.start)?;
        let length = in_memory(range.len())?;
        let bytes = self.window.get(from..from + length);
        let lost = WebProblem::Unusable("the window does not hold the range");
        bytes.map(Bytes::copy_from_slice).ok_or(lost)
    }

    /// Lets go of the answer: it cannot be gone on with.
    pub(super) fn shut(&mut self) {
        let used = self.used;
        *self = Self { used, ..Self::default() };
    }

    fn end(&self) -> u64 {
        self.start + self.window.len() as u64
    }

    /// Takes the next bytes, and lets go of those that are neither among the last nor wanted.
    async fn take(&mut self, wanted: u64, size: u64) -> Result<(), WebProblem> {
        let ended = || WebProblem::later("the answer ended too early");
        let answer = self.answer.as_mut().ok_or_else(ended)?;
        let piece = answer.piece().await?.ok_or_else(ended)?;
        if piece.len() as u64 > size.saturating_sub(self.end()) {
            return Err(WebProblem::Changed);
        }
        self.window.extend_from_slice(&piece);
        let kept = self.end().saturating_sub(WINDOW).min(wanted);
        if kept > self.start {
            self.window.advance(in_memory(kept - self.start)?);
            self.start = kept;
        }
        Ok(())
    }

    /// The end of the answer is the end of the file.
    async fn close(&mut self, size: u64) -> Result<(), WebProblem> {
        let Some(answer) = &mut self.answer else { return Ok(()) };
        let more = loop {
            match answer.piece().await? {
                Some(piece) if piece.is_empty() => {}
                more => break more,
            }
        };
        self.answer = None;
        match more {
            Some(_) => Err(WebProblem::Nonsense(format!("more than its {size} bytes came"))),
            None => Ok(()),
        }
    }
}

fn in_memory(length: u64) -> Result<usize, WebProblem> {
    usize::try_from(length).map_err(|_| WebProblem::Unusable("the range is too long"))
}
