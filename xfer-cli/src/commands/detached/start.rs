//! `--detach`: starting a transfer that goes on by itself.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;
use xfer_core::error::ExitClass;

use super::super::Context;
use super::follow::{Followed, Words, died, follow};
use super::record::{Record, Records, lost};
use crate::Outcome;
use crate::output::json::{Body, ResultBody, TransferBody};
use crate::output::result_of;

/// How long a refusal is waited for before the transfer is left alone: what is wrong with a command
/// line, a login or a machine shows within it.
const WATCHED: Duration = Duration::from_secs(10);

/// Starts the same command in a session of its own, and leaves it as soon as it has a plan.
pub(in crate::commands) fn start(context: &Context) -> Outcome {
    context.merged.refuse_pair("detach", "dry-run")?;
    context.merged.refuse_pair("detach", "print-onstart")?;
    let records = Records::open(context)?;
    records.prune(context.output.clock().now().seconds)?;
    let record = records.begin()?;
    let unique = getrandom::u64().map_err(lost)?;
    record.start(&words(std::env::args_os().skip(1)), unique)?;
    let runtime = crate::runtime::start().map_err(lost)?;
    runtime.block_on(watch(context, &record))
}

async fn watch(context: &Context, record: &Record) -> Outcome {
    let output = &context.output;
    let (began, mut early) = (output.clock().elapsed(), Vec::new());
    let followed = follow(record, |line| {
        let is_under_way = match line {
            Some((line, value)) => {
                early.extend_from_slice(line);
                value.get("type").and_then(Value::as_str) == Some("plan")
            }
            None => output.clock().elapsed() - began > WATCHED,
        };
        Ok(if is_under_way { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    match followed.await? {
        Followed::Died => Err(died(record)),
        Followed::Left => Ok(left(context, record)),
        Followed::Ended(class) => {
            output.relay(&early);
            Words::of(record, false)?.tell(output)?;
            Ok(class)
        }
    }
}

fn left(context: &Context, record: &Record) -> ExitClass {
    let (output, id) = (&context.output, &record.id);
    output.result(format!("{id}\n").as_bytes());
    output.event(&Body::Transfer(Box::new(TransferBody {
        id: id.clone(),
        state: "running",
        ..TransferBody::default()
    })));
    output.say(&format!(
        "xfer: transfer {id} goes on by itself\n  follow    xfer attach {id}\n  stop      xfer \
         cancel {id}\n"
    ));
    let message = format!("detached as {id}; its outcome is not known yet");
    output.last(ResultBody {
        message,
        status: "detached",
        ..result_of(ExitClass::Done, "detached")
    });
    ExitClass::Done
}

/// What the new process is given: the same words, but that it stays and tells events.
fn words(typed: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut words, mut are_flags) = (Vec::new(), true);
    for (at, word) in typed.enumerate() {
        are_flags &= word != "--";
        let is_ours = ["--detach", "--no-detach", "--json", "--no-json"].iter().any(|w| word == *w);
        if !(are_flags && is_ours) {
            words.push(word);
        }
        if at == 0 {
            words.extend(["--no-detach", "--json"].map(OsString::from));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_stay_and_tell_events() {
        let typed = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let given = words(typed("push -v --detach a --json b:c").into_iter());
        assert_eq!(given, typed("push --no-detach --json -v a b:c"));
        let given = words(typed("push --detach -- --detach b:c").into_iter());
        assert_eq!(given, typed("push --no-detach --json -- --detach b:c"));
    }
}
