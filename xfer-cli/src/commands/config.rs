//! `xfer config show`.

use crate::Outcome;
use crate::commands::{Context, done};
use crate::settings::{ConnectionSettings, CopySettings};
use xfer_protocol::path::Escaped;

/// Prints the settings in effect, and with `origin` where each comes from.
pub(super) fn show(context: &Context, origin: bool) -> Outcome {
    ConnectionSettings::resolve(&context.merged)?;
    CopySettings::resolve(&context.merged, &context.around)?;
    let mut text = String::new();
    for (key, value, from) in context.merged.rows() {
        let value = Escaped(value.as_bytes()).to_string();
        match from {
            _ if !origin => text.push_str(&format!("{key} = {value}\n")),
            Some(from) => text.push_str(&format!("{key} = {value}  # {from}\n")),
            None => text.push_str(&format!("{key} = {value}  # default\n")),
        }
    }
    done(&context.output, &text)
}
