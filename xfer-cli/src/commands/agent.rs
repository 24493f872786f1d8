//! `xfer agent`: the far side, started by xfer itself and by nobody else.

use std::ffi::OsString;
use std::time::Duration;

use xfer_core::agent::stdio::{self, AgentOptions, OPENING_VARIABLE};
use xfer_core::endpoint::local::{Base, LocalOptions};
use xfer_core::error::ExitClass;

use crate::Outcome;
use crate::problem::CliError;

/// Serves one session.
pub(super) fn serve(words: &[OsString]) -> Outcome {
    let opening = std::env::var(OPENING_VARIABLE).unwrap_or_default();
    let options = understand(words, &opening).ok_or_else(|| {
        CliError::usage("bad-value", "xfer agent is started by xfer itself").help()
    })?;
    let failed = |error: std::io::Error| {
        let class = stdio::exit_class(&error);
        CliError::new(class, "agent-failed", "the agent's session failed").why(error)
    };
    let runtime = crate::runtime::start().map_err(failed)?;
    // A worker that is told of bytes reads them itself; this thread would have to be woken first.
    let ended = runtime.block_on(async { tokio::spawn(stdio::run(options)).await });
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended.map_err(std::io::Error::other).flatten().map_err(failed)?;
    Ok(ExitClass::Done)
}

fn understand(words: &[OsString], opening: &str) -> Option<AgentOptions> {
    let mut options = AgentOptions {
        sentinel: Vec::new(),
        opening: Vec::new(),
        session: String::new(),
        join: false,
        deliveries: false,
        silence: Duration::from_secs(30),
        endpoint: LocalOptions::default(),
    };
    let mut words = words.iter().map(|word| word.to_str());
    while let Some(word) = words.next() {
        match word? {
            "--sentinel" => options.sentinel = bytes_of(words.next()??)?,
            "--opening" => options.opening = bytes_of(opening)?,
            "--session" => {
                let session = words.next()??;
                bytes_of(session)?;
                session.clone_into(&mut options.session);
            }
            "--silence" => options.silence = Duration::from_secs(words.next()??.parse().ok()?),
            "--home" => options.endpoint.base = Base::Home,
            "--join" => options.join = true,
            "--deliveries" => options.deliveries = true,
            "--owner" => options.endpoint.owner = true,
            "--devices" => options.endpoint.devices = true,
            "--no-times" => options.endpoint.times = false,
            "--xattrs" => options.endpoint.xattrs = true,
            "--acls" => options.endpoint.acls = true,
            _ => return None,
        }
    }
    (!options.session.is_empty()).then_some(options)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_xfer_itself_writes_is_understood() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let line = "--sentinel 00ff --session ab12 --silence 7 --opening --home --join \
                    --deliveries --no-times";
        let options = understand(&words(line), "0a").unwrap();
        assert_eq!((options.sentinel, options.opening), (vec![0, 255], vec![10]));
        assert_eq!((options.session.as_str(), options.join), ("ab12", true));
        assert!(options.deliveries);
        assert_eq!(options.silence, Duration::from_secs(7));
        assert!(!options.endpoint.times && !options.endpoint.owner);
        assert!(understand(&words("--session ab"), "0a").unwrap().opening.is_empty());
        assert!(understand(&words("--session ab --opening"), "x").is_none());
        for line in ["", "--session", "--session xyz", "--session ab --silence -1", "--help"] {
            assert!(understand(&words(line), "").is_none(), "{line}");
        }
    }
}
