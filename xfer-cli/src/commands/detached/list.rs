//! `xfer transfers`.

use serde_json::Value;
use xfer_core::error::ExitClass;
use xfer_core::receipt::PathText;

use super::super::Context;
use super::follow::class_of;
use super::record::{Record, Records};
use crate::Outcome;
use crate::output::json::{Body, ResultBody, TransferBody};
use crate::output::{amounts, result_of};
use crate::problem::CliError;

/// Lists detached transfers, the eldest first.
pub(in crate::commands) fn list(context: &Context) -> Outcome {
    let output = &context.output;
    for record in Records::open(context)?.all()? {
        let body = body(&record)?;
        output.result(line(&body).as_bytes());
        output.event(&Body::Transfer(Box::new(body)));
    }
    let message = "listed".to_owned();
    output.last(ResultBody { message, ..result_of(ExitClass::Done, "done") });
    Ok(ExitClass::Done)
}

fn body(record: &Record) -> Result<TransferBody, CliError> {
    // Whether it lives is asked before what it told is read, which then has its end.
    let is_alive = record.is_alive()?;
    let told = record.told()?;
    let run = told.run.unwrap_or_default();
    let field = |from: &Value, name| from.get(name).cloned().unwrap_or_default();
    let text = |from: &Value, name| from.get(name).and_then(Value::as_str).map(str::to_owned);
    let far = told.result.as_ref().or(told.progress.as_ref());
    let class = told.result.as_ref().and_then(class_of);
    Ok(TransferBody {
        id: record.id.clone(),
        state: match (class, is_alive) {
            (Some(ExitClass::Done), _) => "done",
            (Some(_), _) => "failed",
            (None, true) => "running",
            (None, false) => "died",
        },
        exit_code: class.map(ExitClass::code),
        began: text(&run, "time"),
        verb: text(&run, "verb"),
        sources: serde_json::from_value(field(&run, "sources")).unwrap_or_default(),
        destination: serde_json::from_value(field(&run, "destination")).unwrap_or_default(),
        payload_bytes: far.and_then(|from| from.get("payload_bytes")).and_then(Value::as_u64),
    })
}

fn line(body: &TransferBody) -> String {
    let code = body.exit_code.filter(|code| *code != 0);
    let state = code.map_or_else(|| body.state.to_owned(), |code| format!("exit {code}"));
    let began = body.began.as_deref().unwrap_or("-");
    let sent = body.payload_bytes.map_or_else(|| "-".to_owned(), amounts::bytes);
    let places: Vec<_> = body.sources.iter().chain(&body.destination).map(shown).collect();
    let verb = body.verb.as_deref().unwrap_or("-");
    format!("{} {state:<8} {began:<24} {sent:>10} {verb} {}\n", body.id, places.join(" "))
}

fn shown(path: &PathText) -> String {
    let bytes = path.bytes().unwrap_or_default();
    xfer_protocol::path::Escaped(&bytes).to_string()
}
