//! Streams of a session over SSH: channels of the first login, and further logins beside it.
//!
//! One connection is bound by the window of its TCP and by one process of the server. Where that is
//! less than the link gives, further ones are opened while the transfer already runs. They are a
//! favour of the server: one that it refuses changes nothing, and nobody is asked for one.

mod climbing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::agent::bootstrap::{self, BootstrapError, Start, Started};
use crate::clock::{Clock, backoff};
use crate::endpoint::remote::{RemoteEndpoint, Tier};
use crate::event::Observer;
use crate::options::{RouteChoice, TransferOptions};
use crate::transport::ssh::{SshConnection, SshError, SshOptions};

/// Delay that one stream bears: a server's window of 2 MiB still fills 400 MB/s.
const DELAY_OF_ONE: Duration = Duration::from_millis(5);

/// Delay for which one more stream is used, where nobody says how many: each carries 100 MB/s. From
/// this delay on, further logins carry as many again.
const DELAY_OF_EACH: Duration = Duration::from_millis(20);

/// Channels of one login at most: sshd's `MaxSessions` leaves room for the first.
pub(super) const CHANNELS_MAX: usize = 8;

/// Logins beside the first at most.
const FURTHER_MAX: usize = 3;

/// Streams of payload at most, over all logins.
const STREAMS_MAX: usize = CHANNELS_MAX * (1 + FURTHER_MAX);

/// The longest pause before each further login: a server may count the one before for a while.
const FURTHER_PAUSE: Duration = Duration::from_millis(250);

/// Payload that must have moved before: what ends sooner has no use for more streams.
const FURTHER_PAYLOAD: u64 = 8 << 20;

/// Or time for which payload was on its way over a link that loses packets and is not full: there
/// they are needed most.
const FURTHER_AFTER: Duration = Duration::from_secs(2);

/// And round trips: a connection that begins is not bound by anything else.
const FURTHER_AFTER_ROUND_TRIPS: u32 = 12;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long a server that takes no more logins is asked again.
const FURTHER_PATIENCE: Duration = Duration::from_secs(60);

/// Streams of payload that a link wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Channels of the first login beside its first; none where that one carries payload itself.
    pub(super) here: usize,
    /// Streams on logins of their own.
    pub(super) beside: usize,
}

impl Wanted {
    /// What was asked for, or what a link of this delay wants.
    pub(super) fn of(asked: Option<usize>, round_trip: Duration) -> Self {
        let (here, beside) = match asked {
            Some(asked) => {
                let here = asked.min(CHANNELS_MAX);
                (here, asked.min(STREAMS_MAX) - here)
            }
            None if round_trip < DELAY_OF_ONE => (1, 0),
            None => {
                let each = round_trip.as_micros().div_ceil(DELAY_OF_EACH.as_micros());
                let each = usize::try_from(each).unwrap_or(CHANNELS_MAX).saturating_add(1);
                let here = each.min(CHANNELS_MAX);
                (here, if round_trip < DELAY_OF_EACH { 0 } else { here })
            }
        };
        // One stream alone carries payload and control; of more, the first is control's.
        if here + beside <= 1 { Self { here: 0, beside: 0 } } else { Self { here, beside } }
    }
}

/// What became of further logins, for the user.
pub(super) type Told = Arc<Mutex<Vec<String>>>;

/// Starts the agent that begins a session. On a long link the channels of those that are to join it
/// are opened meanwhile, for what they are asked for later queues behind payload.
pub(super) async fn start_first(
    login: &SshConnection,
    options: &TransferOptions,
    start: &Start,
) -> Result<Started, BootstrapError> {
    let network = &options.network;
    let is_sure = matches!(network.route, RouteChoice::Auto | RouteChoice::Ssh)
        && network.data_ports.is_empty();
    let delay = login.round_trip().filter(|delay| is_sure && *delay >= DELAY_OF_EACH);
    let asked = network.streams.map(|streams| streams.get());
    let wanted = delay.map_or(0, |delay| Wanted::of(asked, delay).here);
    let ahead = async {
        login.open_ahead(wanted).await;
        std::future::pending().await
    };
    tokio::select! {
        // The server takes channels in their order, and may take no more than one.
        biased;
        started = bootstrap::start(login, options, start) => started,
        never = ahead => never,
    }
}

/// Opens channels whose agents join the session, and tells how many did.
pub(super) async fn join_streams(
    login: &SshConnection,
    options: &TransferOptions,
    start: &Start,
    remote: &RemoteEndpoint,
    numbers: std::ops::RangeInclusive<usize>,
) -> usize {
    let joining = numbers.map(|number| async move {
        let number = u16::try_from(number).ok()?;
        // A server that grants no further channel leaves us with those that we have.
        let next = bootstrap::start(login, options, start).await.ok()?;
        remote.add_stream(next.stream, number, Tier::Beside).await.ok()
    });
    join_all(joining).await.into_iter().flatten().count()
}

/// What there is of a session's logins.
struct There {
    /// With the first.
    logins: usize,
    /// The last index that a stream of theirs has.
    last: usize,
}

/// Streams beside the first: on its login, and on logins beside that.
pub(super) struct Further {
    pub(super) first: SshConnection,
    pub(super) ssh: SshOptions,
    pub(super) options: TransferOptions,
    /// That of an agent which joins the session.
    pub(super) start: Start,
    pub(super) told: Told,
    pub(super) place: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Arc<dyn Observer>,
}

impl Further {
    /// Opens what the first login is to carry, and tells how many streams are still missing.
    pub(super) async fn join_here(&self, remote: &RemoteEndpoint) -> usize {
        let Wanted { here, beside } = self.wanted(remote);
        let (login, options) = (&self.first, &self.options);
        remote.expect_streams(here > 0);
        let joined = join_streams(login, options, &self.start, remote, 1..=here).await;
        remote.expect_streams(false);
        here - joined + beside
    }

    /// Opens all that is wanted, beside payload where waiting for it would take longer than what
    /// small transfers take.
    pub(super) async fn join(self, remote: Arc<RemoteEndpoint>, tasks: &mut JoinSet<()>) {
        if remote.round_trip() < DELAY_OF_ONE {
            let missing = self.join_here(&remote).await;
            tasks.spawn(async move { self.join_beside(remote, missing).await });
        } else {
            remote.expect_streams(self.wanted(&remote).here > 0);
            tasks.spawn(async move { self.join_all(remote).await });
        }
    }

    /// Opens all that is wanted.
    pub(super) async fn join_all(self, remote: Arc<RemoteEndpoint>) {
        let missing = self.join_here(&remote).await;
        self.join_beside(remote, missing).await;
    }

    fn wanted(&self, remote: &RemoteEndpoint) -> Wanted {
        let asked = self.options.network.streams.map(|streams| streams.get());
        Wanted::of(asked, remote.round_trip())
    }

    /// Logs in again until so many streams more have joined the session, and on where that makes a
    /// link faster on which connections are bound by what they lose.
    pub(super) async fn join_beside(self, remote: Arc<RemoteEndpoint>, missing: usize) {
        let is_asked = self.options.network.streams.is_some();
        if let Some(why) = self.first.alone() {
            if is_asked && missing > 0 {
                self.tell(why);
            }
            return;
        }
        let last = self.wanted(&remote).here;
        let there = match self.join_missing(&remote, last, missing).await {
            Ok(there) => there,
            Err(error) => return self.tell(&error.to_string()),
        };
        if !is_asked && let Err(error) = self.climb(&remote, there).await {
            self.tell(&error.to_string());
        }
    }

    /// Logs in again, one login after the other and each after a pause, until so many streams more
    /// have joined the session. The last index of a stream so far is `last`.
    async fn join_missing(
        &self,
        remote: &RemoteEndpoint,
        mut last: usize,
        mut missing: usize,
    ) -> Result<There, SshError> {
        let mut logins = 1;
        for left in (1..=FURTHER_MAX).rev() {
            if missing == 0 {
                break;
            }
            let ssh = self.next(logins);
            tokio::time::sleep(backoff(1, FURTHER_PAUSE, ssh.seed)).await;
            if !self.has_moved(remote).await && self.options.network.streams.is_none() {
                let numbers = last + 1..last + 1 + left;
                last = numbers.end - 1;
                logins += self.log_in_more(remote, numbers).await?;
                break;
            }
            let login = self.first.again(&ssh).await?;
            let numbers = last + 1..=last + missing.div_ceil(left).min(CHANNELS_MAX);
            (last, logins) = (*numbers.end(), logins + 1);
            // Its streams keep the login, and it ends with them.
            let (options, start) = (&self.options, &self.start);
            missing -= join_streams(&login, options, start, remote, numbers).await;
        }
        Ok(There { logins, last })
    }

    /// Waits until the transfer is one that has a use for further streams, and tells whether it has
    /// moved something by then: what has not, for its packets are lost on a link that is not full,
    /// waits for no pause between logins.
    async fn has_moved(&self, remote: &RemoteEndpoint) -> bool {
        let (mut link, mut moving) = (self.link(), Duration::ZERO);
        let enough = FURTHER_AFTER.max(remote.round_trip() * FURTHER_AFTER_ROUND_TRIPS);
        while remote.payload_bytes() < FURTHER_PAYLOAD {
            tokio::time::sleep(LOOK).await;
            moving += if remote.is_moving() { LOOK } else { Duration::ZERO };
            let Some(link) = &mut link else { continue };
            link.look();
            if moving >= enough && link.loses_and_is_not_full() {
                return false;
            }
        }
        true
    }

    /// How the next login is made, when there are so many.
    fn next(&self, logins: usize) -> SshOptions {
        let mut ssh = self.ssh.clone();
        ssh.busy_budget = FURTHER_PATIENCE;
        ssh.seed = ssh.seed.wrapping_add(logins as u64);
        ssh
    }

    fn tell(&self, why: &str) {
        let text = format!(
            "{}: the transfer goes on with the connections that it has, for a further one did not \
             come about: {why}",
            self.place
        );
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_wants() {
        let of = |asked, millis| {
            let Wanted { here, beside } = Wanted::of(asked, Duration::from_millis(millis));
            (here, beside)
        };
        for (asked, millis, wanted) in [
            (None, 0, (0, 0)),
            (None, 4, (0, 0)),
            (None, 5, (2, 0)),
            (None, 19, (2, 0)),
            (None, 20, (2, 2)),
            (None, 100, (6, 6)),
            (None, 1000, (8, 8)),
            (Some(1), 1000, (0, 0)),
            (Some(2), 0, (2, 0)),
            (Some(8), 0, (8, 0)),
            (Some(9), 0, (8, 1)),
            (Some(64), 0, (8, 24)),
        ] {
            assert_eq!(of(asked, millis), wanted, "{asked:?} at {millis} ms");
        }
    }
}
