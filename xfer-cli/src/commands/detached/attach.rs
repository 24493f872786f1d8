//! `xfer attach` and `xfer cancel`.

use std::ops::ControlFlow;

use xfer_core::error::ExitClass;

use super::super::Context;
use super::super::reach::{Signals, class_of as class_of_stop};
use super::follow::{Followed, Words, class_of, died, follow};
use super::record::{Record, Records, lost};
use crate::Outcome;
use crate::output::json::ResultBody;
use crate::output::result_of;

/// Prints what a transfer prints until it ends, and ends as it does. A stop ends the looking alone.
pub(in crate::commands) fn attach(context: &Context, id: &str) -> Outcome {
    let record = Records::open(context)?.find(id)?;
    let runtime = crate::runtime::start().map_err(lost)?;
    runtime.block_on(async {
        let mut signals = Signals::taken().map_err(lost)?;
        let mut words = Words::of(&record, true)?;
        let following = follow(&record, |line| {
            match line {
                Some((line, _)) => context.output.relay(line),
                None => words.tell(&context.output)?,
            }
            Ok(ControlFlow::Continue(()))
        });
        tokio::select! {
            followed = following => match followed? {
                Followed::Ended(class) => Ok(class),
                Followed::Died | Followed::Left => Err(died(&record)),
            },
            signal = signals.next() => {
                let id = &record.id;
                let text = format!("xfer: transfer {id} goes on; xfer cancel {id} stops it\n");
                context.output.say(&text);
                Ok(class_of_stop(signal))
            }
        }
    })
}

/// Stops a transfer cleanly: what arrived stays, and the same command goes on from it.
pub(in crate::commands) fn cancel(context: &Context, id: &str) -> Outcome {
    let record = Records::open(context)?.find(id)?;
    let was_asked = record.stop()?;
    let runtime = crate::runtime::start().map_err(lost)?;
    let followed = runtime.block_on(follow(&record, |_| Ok(ControlFlow::Continue(()))))?;
    let text = match (followed, was_asked) {
        (Followed::Ended(_), true) => ended(&record)?,
        (Followed::Ended(_), false) => format!("had ended before: {}", ended(&record)?),
        (Followed::Died | Followed::Left, _) => return Err(died(&record)),
    };
    let message = format!("transfer {}: {text}", record.id);
    context.output.say(&format!("xfer: {message}\n"));
    context.output.last(ResultBody { message, ..result_of(ExitClass::Done, "done") });
    Ok(ExitClass::Done)
}

/// How it ended, in words.
fn ended(record: &Record) -> Result<String, crate::problem::CliError> {
    let class = record.told()?.result.as_ref().and_then(class_of);
    Ok(match class {
        Some(ExitClass::Terminated) => {
            "stopped; what arrived stays, and the same command goes on from it".to_owned()
        }
        Some(class) => format!("{} (exit {})", class.meaning(), class.code()),
        None => "it told no result".to_owned(),
    })
}
