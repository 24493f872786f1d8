//! Following what a detached transfer prints.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;
use xfer_core::disk::state::StateReader;
use xfer_core::error::ExitClass;

use super::record::{Record, lost, of_type};
use crate::output::Output;
use crate::problem::CliError;

/// Time between two looks at what it printed.
const TICK: Duration = Duration::from_millis(200);

/// Lines of words that whoever comes later is shown.
const SHOWN_LINES: usize = 20;

/// How following came to its end.
pub(super) enum Followed {
    /// The transfer ended, and said how.
    Ended(ExitClass),
    /// It is gone, and said nothing: killed, or the machine stopped.
    Died,
    /// Who follows had enough.
    Left,
}

/// Calls `each` for every line of events until the transfer ends, or until that breaks. It is
/// called without a line at every look.
pub(super) async fn follow(
    record: &Record,
    mut each: impl FnMut(Option<(&[u8], &Value)>) -> Result<ControlFlow<()>, CliError>,
) -> Result<Followed, CliError> {
    let mut events = record.events()?;
    let (mut line, mut tick) = (Vec::new(), tokio::time::interval(TICK));
    let mut result = None;
    loop {
        tick.tick().await;
        // What a process told before it ended is read after it was seen to be gone.
        let is_alive = record.is_alive()?;
        loop {
            events.read_until(b'\n', &mut line).map_err(lost)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            if let Ok(value) = serde_json::from_slice::<Value>(&line) {
                result = of_type(&line, "result").or(result);
                if each(Some((&line, &value)))?.is_break() {
                    return Ok(Followed::Left);
                }
            }
            line.clear();
        }
        let ended = each(None)?.is_break();
        match (&result, is_alive) {
            (Some(result), _) => {
                return Ok(class_of(result).map_or(Followed::Died, Followed::Ended));
            }
            (None, false) => return Ok(Followed::Died),
            (None, true) if ended => return Ok(Followed::Left),
            (None, true) => {}
        }
    }
}

/// The class that a result tells.
pub(super) fn class_of(result: &Value) -> Option<ExitClass> {
    let code = result.get("exit_code")?.as_u64()?;
    ExitClass::from_code(u8::try_from(code).ok()?)
}

/// The words of a transfer on their way to who follows it.
pub(super) struct Words {
    from: StateReader,
    is_late: bool,
}

impl Words {
    /// From the first on, or the last of them where somebody comes later.
    pub(super) fn of(record: &Record, is_late: bool) -> Result<Self, CliError> {
        Ok(Self { from: record.words()?, is_late })
    }

    /// Prints what came since.
    pub(super) fn tell(&mut self, output: &Output) -> Result<(), CliError> {
        let mut bytes = Vec::new();
        self.from.read_to_end(&mut bytes).map_err(lost)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut text = &*text;
        if std::mem::take(&mut self.is_late) {
            let begin = text.trim_end().rmatch_indices('\n').nth(SHOWN_LINES - 1);
            text = begin.map_or(text, |(at, _)| &text[at + 1..]);
        }
        if !text.is_empty() {
            output.warn(text);
        }
        Ok(())
    }
}

/// The failure of a transfer that told no end.
pub(super) fn died(record: &Record) -> CliError {
    let id = &record.id;
    let what = format!("transfer {id} is gone and told no result: its outcome is unknown");
    CliError::new(ExitClass::Other, "transfer-died", what)
        .why("it was killed, or this machine stopped")
        .next("start the same transfer again: it goes on from what arrived")
}
