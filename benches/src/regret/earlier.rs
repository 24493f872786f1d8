//! What was swept before, from the figures that were written of it

use std::path::Path;

use serde_json::Value;

use super::sweep::{ROUTES, Setting};
use super::{Round, Run};
use crate::Done;
use crate::emulated::Cell;

/// The links of an earlier sweep, which must have been made under these conditions
pub(super) fn read(path: &Path, conditions: &Value) -> Done<Vec<Round>> {
    let told = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let figures: Value = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
    for name in ["race", "direction", "seed", "seconds", "limit", "settings"] {
        if figures[name] != conditions[name] {
            return Err(told(format!("another sweep: its {name} are not those asked for")));
        }
    }
    rounds(&figures).ok_or_else(|| told(String::from("not the figures of a sweep")))
}

pub(super) fn rounds(figures: &Value) -> Option<Vec<Round>> {
    let cells = figures["cells"].as_array()?.iter().map(|figures| {
        let rtt = u32::try_from(figures["rtt_ms"].as_u64()?).ok()?;
        let (loss, rate) = (figures["loss_percent"].as_f64()?, figures["rate_mbit"].as_u64()?);
        let runs = |name| figures[name].as_array()?.iter().map(run).collect::<Option<Vec<_>>>();
        Some(Round { cell: Cell { rtt, loss, rate }, tuned: runs("tuned")?, fixed: runs("fixed")? })
    });
    cells.collect()
}

fn run(figures: &Value) -> Option<Run> {
    let setting = match figures["route"].as_str() {
        None => None,
        Some(name) => Some(Setting {
            route: ROUTES.into_iter().find(|route| route.name() == name)?,
            streams: usize::try_from(figures["streams"].as_u64()?).ok()?,
            block: figures["block_bytes"].as_u64()?,
        }),
    };
    Some(Run {
        setting,
        rate: figures["bytes_a_second"].as_f64()?,
        is_finished: figures["finished"].as_bool()?,
        wall: figures["seconds"].as_f64()?,
    })
}
