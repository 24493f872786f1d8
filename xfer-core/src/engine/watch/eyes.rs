//! What is noticed of sources on this machine while it happens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::io::unix::AsyncFd;
use xfer_protocol::message::Locate;

use crate::disk::changes::{Changes, Noticed};
use crate::endpoint::Endpoint;
use crate::endpoint::local::{LocalEndpoint, LocalOptions};
use crate::engine::settling::Finished;
use crate::event::{Event, SharedObserver};
use crate::location::Location;
use crate::plan::mapping::begin_of;

/// Between two looks at sources that nobody watches.
const POLL: Duration = Duration::from_secs(10);

/// Between two looks at those that are: events may be lost.
const RESCAN: Duration = Duration::from_secs(60);

/// Watches the sources that are here.
pub(super) struct Eyes {
    sources: Vec<Location>,
    watched: Vec<AsyncFd<Changes>>,
    /// Whether all of the sources are watched.
    is_whole: bool,
    is_told: bool,
    finished: Arc<Finished>,
    observer: SharedObserver,
}

impl Eyes {
    pub(super) async fn open(
        sources: &[Location],
        finished: Arc<Finished>,
        observer: SharedObserver,
    ) -> Self {
        let sources = sources.to_vec();
        let (watched, is_told) = (Vec::new(), false);
        let mut eyes = Self { sources, watched, is_whole: false, is_told, finished, observer };
        eyes.begin().await;
        eyes
    }

    /// Between two looks where nothing is noticed.
    pub(super) fn interval(&self) -> Duration {
        if self.is_whole { RESCAN } else { POLL }
    }

    /// What is noticed next. Files that are finished are noted as such.
    pub(super) async fn noticed(&mut self) -> Noticed {
        let noticed = self.next().await;
        self.finished.note(noticed.finished.iter().copied());
        if noticed.stale {
            self.begin().await;
            return Noticed { names: true, ..noticed };
        }
        noticed
    }

    async fn next(&mut self) -> Noticed {
        if self.watched.is_empty() {
            return std::future::pending().await;
        }
        let at = {
            let each = self.watched.iter().map(|changes| Box::pin(changes.readable()));
            let (ready, at, _) = select_all(each).await;
            match ready {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return Noticed { stale: true, ..Noticed::default() },
            }
            at
        };
        self.watched[at].get_mut().read()
    }

    /// Watches anew.
    async fn begin(&mut self) {
        self.watched.clear();
        self.is_whole = true;
        let here = LocalEndpoint::new(LocalOptions::default());
        for source in &self.sources {
            if !source.is_here() {
                self.is_whole = false;
                continue;
            }
            let locate = Locate { path: source.path.clone(), expand: false };
            let located = here.locate(locate).await.ok().and_then(|mut rows| rows.pop());
            let begin = located.and_then(|located| begin_of(&located).ok());
            let changes = match begin {
                Some((root, under)) => Changes::begin(&root, &under).map_err(|e| e.to_string()),
                None => Err("it is not there".to_owned()),
            };
            let watched = changes.and_then(|changes| changes.awaited().map_err(|e| e.to_string()));
            match watched {
                Ok(watched) => self.watched.push(watched),
                Err(why) => {
                    self.is_whole = false;
                    if !std::mem::replace(&mut self.is_told, true) {
                        let text = format!(
                            "{source} cannot be watched ({why}): it is looked at every {} s",
                            POLL.as_secs()
                        );
                        self.observer.observe(&Event::Notice(text));
                    }
                }
            }
        }
        here.close().await;
    }
}
