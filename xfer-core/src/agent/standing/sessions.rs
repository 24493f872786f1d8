//! Sessions of those who hold a token: each is served like one over a login, below its roots alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use xfer_protocol::hello::{
    FEATURE_DELTA, FEATURE_ENCODED_PAYLOAD, FEATURE_IN_PLACE, FEATURE_PROBES, FEATURE_REMOVALS,
    FEATURE_RENAMES, FEATURE_SETTLING, SessionId,
};

use super::tokens::{Grant, TokenFile};
use crate::agent::serve::{Served, greeted};
use crate::clock::Clock;
use crate::disk::named_roots::NamedRoots;
use crate::endpoint::local::{LocalEndpoint, LocalOptions, Reach};
use crate::transport::Stream;
use crate::transport::compression::Coder;
use crate::transport::peer::{Verdict, Verifier, Wishes};

/// Sessions at a time: each may hold 64 MiB of payload.
const SESSIONS_MAX: usize = 32;

/// Streams of one session at a time.
const STREAMS_MAX: usize = 96;

/// Silence after which a session is over; controllers say something every 100 s at least.
const SILENCE: Duration = Duration::from_secs(120);

/// The highest level at which payload is compressed here: at 19 one payload takes 100 MiB and many
/// seconds, and whoever holds a token asks for it.
const LEVEL_MOST: u8 = 9;

type Name = (Verifier, SessionId);

/// All sessions of a standing peer.
pub(super) struct Sessions {
    tokens: TokenFile,
    roots: NamedRoots,
    clock: Arc<dyn Clock>,
    live: Mutex<HashMap<Name, Served<LocalEndpoint>>>,
    watches: Mutex<JoinSet<()>>,
}

/// Somebody who holds a token.
#[derive(Clone)]
pub(super) struct Holder {
    verifier: Verifier,
    grant: Grant,
    wishes: Wishes,
}

impl Sessions {
    pub(super) fn new(tokens: TokenFile, roots: NamedRoots, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (live, watches) = (Mutex::default(), Mutex::default());
        Arc::new(Self { tokens, roots, clock, live, watches })
    }

    /// What comes of a token that was proven.
    pub(super) async fn judge(
        &self,
        verifier: Verifier,
        wishes: Wishes,
    ) -> (Verdict, Option<Holder>) {
        let tokens = self.tokens.clone();
        let found = tokio::task::spawn_blocking(move || tokens.find(verifier)).await;
        // A file that cannot be read lists nobody.
        let Ok(Ok(Some(grant))) = found else { return (Verdict::Unknown, None) };
        if grant.has_expired(self.clock.now().seconds) {
            return (Verdict::Expired, None);
        }
        let live = guard(&self.live);
        if live.len() >= SESSIONS_MAX && !live.keys().any(|(owner, _)| *owner == verifier) {
            return (Verdict::Full, None);
        }
        (Verdict::Accepted, Some(Holder { verifier, grant, wishes }))
    }

    /// Serves a stream whose holder was accepted, to its end.
    pub(super) async fn serve(self: &Arc<Self>, stream: Stream, holder: Holder) {
        let features = FEATURE_ENCODED_PAYLOAD | FEATURE_PROBES | FEATURE_REMOVALS;
        let features = features | FEATURE_DELTA | FEATURE_SETTLING;
        let features = features | FEATURE_RENAMES | FEATURE_IN_PLACE;
        let Ok(greeted) = greeted(stream, features, &*self.clock).await else { return };
        let name = (holder.verifier, greeted.theirs.session);
        let Some(served) = self.session(name, holder) else { return };
        // How it ended is told by what its requests were answered.
        let _ended = served.serve(greeted).await;
    }

    /// The session of that name, begun with its first stream; `None` where there is no room.
    fn session(self: &Arc<Self>, name: Name, holder: Holder) -> Option<Served<LocalEndpoint>> {
        let mut live = guard(&self.live);
        if let Some(served) = live.get(&name).filter(|served| !served.is_over()) {
            return (served.streams() < STREAMS_MAX).then(|| served.clone());
        }
        if live.len() >= SESSIONS_MAX {
            return None;
        }
        let Holder { grant, wishes, .. } = holder;
        let Wishes { times, xattrs, acls } = wishes;
        let options = LocalOptions { times, xattrs, acls, ..LocalOptions::default() };
        let roots = self.roots.only(|root| grant.reaches(root));
        let endpoint = LocalEndpoint::confined(options, Reach { roots, writes: grant.writes });
        let clock = Arc::clone(&self.clock);
        let coder = Coder::up_to(LEVEL_MOST, Arc::clone(&clock));
        let served = Served::without_ports(Arc::new(endpoint), coder, clock);
        live.insert(name, served.clone());
        drop(live);
        let (sessions, watched) = (Arc::downgrade(self), served.clone());
        let left = grant.expires.map(|at| at.saturating_sub(self.clock.now().seconds));
        let mut watches = guard(&self.watches);
        while watches.try_join_next().is_some() {}
        watches.spawn(async move {
            let expiry = async {
                match left.map(|left| u64::try_from(left).unwrap_or(0)) {
                    Some(left) => tokio::time::sleep(Duration::from_secs(left)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _silent = watched.watch(SILENCE) => {}
                _ended = watched.ended() => {}
                () = expiry => {}
            }
            watched.end().await;
            if let Some(sessions) = sessions.upgrade() {
                let mut live = guard(&sessions.live);
                if live.get(&name).is_some_and(Served::is_over) {
                    live.remove(&name);
                }
            }
        });
        Some(served)
    }
}

/// A panic elsewhere leaves no table half changed.
fn guard<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
