//! Candidates against each other: the first that proves the far side's key wins.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use xfer_protocol::data_port::{Carrier, KeyDigest};

use super::candidates::{Candidate, kind_of};
use crate::transport::Stream;
use crate::transport::keys::SessionKey;
use crate::transport::quic::{self, QuicConnection, QuicError};
use crate::transport::tls::{Dialler, TlsError};

/// How long a candidate may take.
pub(super) const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// Ahead of the other kind at least: a scheduler's whim decides nothing.
const HEAD_START_MIN: Duration = Duration::from_millis(100);

/// A candidate that answered.
pub(super) struct Reached {
    pub(super) candidate: Candidate,
    pub(super) link: Link,
}

/// What streams of it are made of.
pub(super) enum Link {
    /// One connection, on which streams are opened.
    Quic(QuicConnection),
    /// The first connection; each further stream is one more.
    Tls(Box<Stream>),
    /// Connections that the far side made.
    Streams(Vec<Stream>),
}

/// A candidate that did not answer as it should.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) candidate: Candidate,
    pub(super) reason: String,
    /// Nothing came back at all, which another try soon would find again.
    pub(super) silent: bool,
    /// Somebody else answered.
    pub(super) stranger: bool,
}

/// Both keys of a session's data ports.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) own: SessionKey,
    pub(super) peer: KeyDigest,
}

/// Dials every candidate, those of the first carrier at once and the others after a head start or
/// when none of the first is left. `failed` is told of each that does not come about before another
/// does.
pub(super) async fn race(
    candidates: &[Candidate],
    keys: &Keys,
    round_trip: Duration,
    mut failed: impl FnMut(Unreached),
) -> Option<(Reached, Late)> {
    let first = candidates.first()?.carrier;
    let mut dials = Late::default();
    for candidate in candidates.iter().filter(|c| c.carrier == first) {
        dials.dial(candidate, keys);
    }
    let head_start = tokio::time::sleep((round_trip * 2).max(HEAD_START_MIN));
    tokio::pin!(head_start);
    let mut all_dialled = false;
    loop {
        let ended = tokio::select! {
            ended = dials.next() => ended,
            () = &mut head_start, if !all_dialled => None,
        };
        match ended {
            Some(Ok(reached)) => return Some((reached, dials)),
            Some(Err(unreached)) => failed(unreached),
            None if all_dialled => return None,
            None => {
                all_dialled = true;
                for candidate in candidates.iter().filter(|c| c.carrier != first) {
                    dials.dial(candidate, keys);
                }
            }
        }
    }
}

/// Candidates of which nothing is known yet.
#[derive(Default)]
pub(super) struct Late {
    dials: JoinSet<Result<Reached, Unreached>>,
    candidates: Vec<Candidate>,
}

impl Late {
    fn dial(&mut self, candidate: &Candidate, keys: &Keys) {
        self.candidates.push(candidate.clone());
        self.dials.spawn(dial(candidate.clone(), keys.clone()));
    }

    /// The next of which something is known; `None` when there is no other.
    async fn next(&mut self) -> Option<Result<Reached, Unreached>> {
        loop {
            // A dial that panicked has come to nothing.
            let Ok(ended) = self.dials.join_next().await? else { continue };
            let (Ok(Reached { candidate, .. }) | Err(Unreached { candidate, .. })) = &ended;
            self.candidates.retain(|other| other != candidate);
            return Some(ended);
        }
    }

    /// Waits a while for those that had not answered when another did, and tells `failed` of each
    /// that does not come about, or stays silent.
    pub(super) async fn settle(mut self, patience: Duration, mut failed: impl FnMut(Unreached)) {
        let settled = async {
            while let Some(ended) = self.next().await {
                // Nobody needs one that comes about now.
                if let Err(unreached) = ended {
                    failed(unreached);
                }
            }
        };
        if tokio::time::timeout(patience, settled).await.is_ok() {
            return;
        }
        for candidate in self.candidates {
            let reason = format!("nothing answered within {} ms", patience.as_millis());
            failed(Unreached { candidate, reason, silent: true, stranger: false });
        }
    }
}

async fn dial(candidate: Candidate, keys: Keys) -> Result<Reached, Unreached> {
    let Keys { own, peer } = &keys;
    let link = match candidate.carrier {
        Carrier::Udp => quic::dial(candidate.address, own, *peer, DIAL_DEADLINE)
            .await
            .map(Link::Quic)
            .map_err(|error| Failed {
                silent: matches!(error, QuicError::Silent(_)),
                stranger: matches!(error, QuicError::Identity),
                reason: error.to_string(),
            }),
        Carrier::Tcp => tls(&candidate, &keys).await.map(|stream| Link::Tls(Box::new(stream))),
    };
    match link {
        Ok(link) => Ok(Reached { candidate, link }),
        Err(Failed { reason, silent, stranger }) => {
            Err(Unreached { candidate, reason, silent, stranger })
        }
    }
}

/// How one dial failed.
struct Failed {
    reason: String,
    silent: bool,
    stranger: bool,
}

async fn tls(candidate: &Candidate, keys: &Keys) -> Result<Stream, Failed> {
    let dialler = Dialler::new(&keys.own, keys.peer);
    let dialler = dialler.map_err(|error| Failed {
        reason: error.to_string(),
        silent: false,
        stranger: false,
    })?;
    let dialled = dialler.dial(candidate.address, DIAL_DEADLINE).await;
    dialled.map_err(|error| Failed {
        silent: matches!(error, TlsError::Late { .. }),
        stranger: matches!(error, TlsError::Stranger { .. } | TlsError::Garbled { .. }),
        reason: error.to_string(),
    })
}

impl Link {
    /// What there is at once, of so many streams that are wanted.
    pub(super) async fn streams(self, count: usize) -> Streams {
        match self {
            Self::Quic(connection) => {
                let opened = join_all((0..count).map(|_| connection.open())).await;
                let streams = opened.into_iter().filter_map(Result::ok).collect();
                Streams { streams, connection: Some(connection), missing: 0 }
            }
            Self::Tls(first) => {
                let missing = count.saturating_sub(1);
                Streams { streams: vec![*first], connection: None, missing }
            }
            Self::Streams(streams) => Streams { streams, connection: None, missing: 0 },
        }
    }
}

/// What carries a session's payload.
pub(super) struct Streams {
    pub(super) streams: Vec<Stream>,
    /// The one connection of them, where there is one.
    pub(super) connection: Option<QuicConnection>,
    /// Streams that are still to be dialled, each by [`further`].
    pub(super) missing: usize,
}

/// One more stream where the first was proven; `None` where it does not come about.
pub(super) async fn further(candidate: &Candidate, keys: &Keys) -> Option<Stream> {
    tls(candidate, keys).await.ok()
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", kind_of(self.carrier), self.address)
    }
}
