//! How much payload may cross a proxy: what would be more is refused before its first byte, and
//! what turns out to be more is cut.
//!
//! Only payload that crosses the proxied connection counts. While a data port carries it, nothing
//! does.

use std::fmt;
use std::time::Duration;

use super::Shared;
use super::context::Stop;
use crate::connect::{Connected, Proxy};
use crate::error::{Failure, PolicyReason, TransferError};
use crate::event::decimal;
use crate::options::PROXY_LIMIT;

/// What such a proxy was seen to carry, in bytes a second.
const RATE: u64 = 4_000_000;

/// How often is looked at what crossed.
const LOOK: Duration = Duration::from_millis(200);

/// What is there instead: a bucket is reached by the machine's own link.
const BY_BUCKET: &str = "go by way of a bucket, which the machine's own link reaches: repeat with \
                         --via s3://BUCKET/tmp";
const BY_PORT: &str = "name a port of the machine that is mapped to the outside: --data-port \
                       INSIDE:OUTSIDE/tcp";

/// A limit beyond which a transfer would pass, with some room for what changes meanwhile.
const ROOM: f64 = 1.03;

/// How long a data port is waited for that was slow to answer, before all is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ends of a transfer, as far as their payload passes a proxy.
pub(super) struct ProxyLimit<'a> {
    ends: Vec<&'a Connected>,
    /// Which sources of the request pass one, by themselves or by where they go.
    crossed_by: Vec<bool>,
    bytes: u64,
}

impl<'a> ProxyLimit<'a> {
    /// Nothing where no end's login passes one. `of_request` tells the end of each source.
    pub(super) fn of(
        shared: &Shared,
        sources: &'a [Connected],
        of_request: &[usize],
        sink: &'a Connected,
    ) -> Option<Self> {
        let is_proxied = |end: &&Connected| end.proxy.is_some();
        let ends: Vec<_> = sources.iter().chain([sink]).filter(is_proxied).collect();
        let into = sink.proxy.is_some();
        let crosses = |end: &usize| into || sources.get(*end).is_some_and(|e| e.proxy.is_some());
        let crossed_by = of_request.iter().map(crosses).collect();
        let bytes = shared.transfer.options.network.proxy_limit.unwrap_or(PROXY_LIMIT);
        (!ends.is_empty()).then_some(Self { ends, crossed_by, bytes })
    }

    /// Whether what comes from a source of the request crosses it.
    pub(super) fn is_crossed_by(&self, source: usize) -> bool {
        self.crossed_by.get(source).copied().unwrap_or(true)
    }

    /// Whether to compare is to send.
    pub(super) fn compares_over_link(&self) -> bool {
        self.ends.iter().any(|end| end.compares_over_link())
    }

    /// Whether so many bytes are more than may cross.
    pub(super) fn exceeds(&self, bytes: u64) -> bool {
        bytes > self.bytes
    }

    /// Refuses what is more, once it is known which way payload takes.
    pub(super) async fn check(&self, bytes: u64) -> Result<(), Stop> {
        if !self.exceeds(bytes) {
            return Ok(());
        }
        let mut waited = Duration::ZERO;
        loop {
            for end in &self.ends {
                end.decided().await;
            }
            let Some(proxy) = self.crossed() else { return Ok(()) };
            let may_change = self.ends.iter().any(|end| end.seeks_data_ports());
            if waited >= PATIENCE || !may_change {
                return Err(refusal(proxy, bytes, self.bytes, None));
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
    }

    /// Ends once more than may cross has crossed. Where only some of the sources do, their payload
    /// is not told from that of the others, and the plan alone is judged.
    pub(super) async fn exceeded(&self, shared: &Shared) -> Stop {
        if !self.crossed_by.iter().all(|crosses| *crosses) {
            return std::future::pending().await;
        }
        let moved = || shared.meter.progress().payload_bytes;
        let (mut before, mut crossed) = (moved(), 0_u64);
        loop {
            tokio::time::sleep(LOOK).await;
            let now = moved();
            let proxy = self.crossed();
            if proxy.is_some() {
                crossed = crossed.saturating_add(now.saturating_sub(before));
            }
            before = now;
            if let Some(proxy) = proxy.filter(|_| self.exceeds(crossed)) {
                return refusal(proxy, crossed, self.bytes, Some(crossed));
            }
        }
    }

    /// The proxy that payload crosses now.
    fn crossed(&self) -> Option<&'a Proxy> {
        self.ends.iter().find_map(|end| end.proxy_now())
    }
}

fn refusal(proxy: &Proxy, bytes: u64, limit: u64, sent: Option<u64>) -> Stop {
    let story = Story { proxy: proxy.clone(), bytes, limit, sent };
    let failure = Failure::new(proxy.place.clone(), PolicyReason::ProxiedOverLimit);
    Stop::Error(TransferError::Policy(failure.because(story)))
}

/// The whole of it in the form of the contract: its first line is what happened.
#[derive(Debug)]
struct Story {
    proxy: Proxy,
    bytes: u64,
    limit: u64,
    sent: Option<u64>,
}

impl std::error::Error for Story {}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proxy, bytes, limit, sent } = self;
        let limit = decimal(*limit);
        match sent {
            None => writeln!(
                f,
                "refused, nothing sent: {} would cross {}; limit {limit}",
                decimal(*bytes),
                proxy.name
            )?,
            Some(sent) => writeln!(
                f,
                "stopped at the limit: {} crossed {}; limit {limit}; what arrived is kept",
                decimal(*sent),
                proxy.name
            )?,
        }
        for why in &proxy.why {
            writeln!(f, "  why       {why}")?;
        }
        if sent.is_none() {
            writeln!(f, "  by proxy  about {} (4 MB/s, estimated)", duration(bytes / RATE))?;
        }
        let mut instead = vec![BY_BUCKET.to_owned(), BY_PORT.to_owned()];
        instead.push(match sent {
            None => {
                format!("send it anyway: repeat with --proxy-limit {}", enough(*bytes))
            }
            Some(_) => "go on by proxy: repeat with a higher --proxy-limit".to_owned(),
        });
        instead.extend(proxy.next_machine.map(|next| format!("next machine: {next}")));
        for (index, text) in instead.iter().enumerate() {
            let label = if index == 0 { "instead" } else { "" };
            write!(f, "{}  {label:<9} {}  {text}", if index > 0 { "\n" } else { "" }, index + 1)?;
        }
        if proxy.is_of_platform {
            let last = "Do not destroy this one first: what is only there is lost with it.";
            write!(f, "\n            {last}")?;
        }
        Ok(())
    }
}

/// A size that lets so many bytes pass, as the flag takes it.
fn enough(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is rounded up")]
    let gigabytes = (bytes as f64 * ROOM / 1e9).ceil();
    format!("{gigabytes:.0}GB")
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{} s", seconds.max(1)),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", (seconds + 1800) / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(bytes: u64, sent: Option<u64>) -> String {
        let proxy = Proxy {
            place: "vast:33402296".to_owned(),
            name: "Vast's SSH proxy (ssh5.vast.ai:17417)".to_owned(),
            is_of_platform: true,
            why: vec!["no direct port: no port is mapped to 22/tcp".to_owned()],
            next_machine: Some("an offer with direct_port_count>=1, created with --direct"),
        };
        Story { proxy, bytes, limit: PROXY_LIMIT, sent }.to_string()
    }

    #[test]
    fn a_refusal_says_what_why_how_long_and_what_instead() {
        let expected = format!(
            "\
refused, nothing sent: 214 GB would cross Vast's SSH proxy (ssh5.vast.ai:17417); limit 1 GB
  why       no direct port: no port is mapped to 22/tcp
  by proxy  about 15 h (4 MB/s, estimated)
  instead   1  {BY_BUCKET}
            2  {BY_PORT}
            3  send it anyway: repeat with --proxy-limit 221GB
            4  next machine: an offer with direct_port_count>=1, created with --direct
            Do not destroy this one first: what is only there is lost with it."
        );
        assert_eq!(story(214_000_000_000, None), expected);
        let cut = story(1_100_000_000, Some(1_100_000_000));
        assert!(cut.starts_with("stopped at the limit: 1.1 GB crossed Vast's"), "{cut}");
        assert!(!cut.contains("nothing sent") && !cut.contains("estimated"), "{cut}");
    }

    #[test]
    fn times_are_short() {
        let shown = [0, 90, 300, 7199, 54_000].map(duration);
        assert_eq!(shown, ["1 s", "90 s", "5 min", "120 min", "15 h"]);
    }
}
