//! What can be had from a machine that is stopped: its host copies for it, and proves nothing.

use super::Shared;
use crate::error::{MachineReason, Remedy, TransferError};
use crate::location::{Location, Machine, PlatformKind};

impl Shared {
    /// The same error, where a source is stopped with how its host hands out its files.
    pub(super) fn with_rescue(&self, error: TransferError) -> TransferError {
        let TransferError::NotRunning(mut failure) = error else { return error };
        let is_stopped = matches!(failure.reason, MachineReason::Stopped | MachineReason::Outbid);
        let from = self.transfer.sources.iter().find(|source| match &source.machine {
            Machine::Platform(machine) => machine.to_string() == failure.place,
            _ => false,
        });
        if let Some(from) = from.filter(|_| is_stopped) {
            failure.next.extend(rescue(from, &self.transfer.destination));
        }
        TransferError::NotRunning(failure)
    }
}

/// Commands that take files from a stopped machine by way of its host.
fn rescue(from: &Location, to: &Location) -> Vec<Remedy> {
    let Machine::Platform(machine) = &from.machine else { return Vec::new() };
    let Some(name) = machine.name() else { return Vec::new() };
    match machine.platform {
        PlatformKind::Vast => {
            let path = plain(&from.path, "/root/").unwrap_or_else(|| "/PATH".to_owned());
            let here = to.is_here().then(|| plain(&to.path, "")).flatten();
            let here = here.unwrap_or_else(|| "./COPY".to_owned());
            let argv = vec![
                "vastai".to_owned(),
                "copy".to_owned(),
                format!("C.{name}:{path}"),
                format!("local:{here}"),
            ];
            let text = format!(
                "leave it stopped: {} (its host sends by rsync, where it has an open port; it ends \
                 with 0 whatever became of it)",
                argv.join(" ")
            );
            let proof = format!(
                "afterwards, for nothing else proves that copy: xfer verify {here} --against \
                 RECEIPT (of an earlier transfer of the same files)"
            );
            let store = format!(
                "or to a store, by its host too: vastai cloud copy --src {path} --dst /DIRECTORY \
                 --instance {name} --connection ID --transfer \"Instance To Cloud\" (done when its \
                 status says so; it counts no failures)"
            );
            vec![Remedy { text, argv }, Remedy::text(store), Remedy::text(proof)]
        }
        PlatformKind::Sky | PlatformKind::RunPod | PlatformKind::Lambda => Vec::new(),
    }
}

/// A path that neither a shell nor that tool takes for anything else, which splits at colons.
fn plain(path: &[u8], home: &str) -> Option<String> {
    let text = std::str::from_utf8(path).ok()?;
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@,=".contains(&b));
    let below = if text.starts_with('/') { "" } else { home };
    (is_plain && !text.is_empty() && !text.starts_with('-')).then(|| format!("{below}{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        Location::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_host_is_asked_for_the_very_paths() {
        let argv = |from: &str, to: &str| rescue(&location(from), &location(to))[0].argv.join(" ");
        for (from, to, expected) in [
            ("vast:7:/w/ckpt", "./ckpt", "vastai copy C.7:/w/ckpt local:./ckpt"),
            ("vast:7:ckpt", "/data", "vastai copy C.7:/root/ckpt local:/data"),
            ("vast:7:/w/a b", "./x;y", "vastai copy C.7:/PATH local:./COPY"),
            ("vast:7:/w/a:b", "host:/x", "vastai copy C.7:/PATH local:./COPY"),
            ("vast:7", "$(id)", "vastai copy C.7:/PATH local:./COPY"),
        ] {
            assert_eq!(argv(from, to), expected, "{from} {to}");
        }
    }
}
