//! Streams to another machine by logins with a lent key: whatever is asked there, the one command
//! runs that hands its stream to the session.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::hello::Sentinel;
use xfer_protocol::message::passage::ReachByLogin;
use xfer_protocol::path::RelPath;

use crate::transport::Stream;
use crate::transport::ssh::{LentKey, SshConnection, SshErrorClass};

/// How long one address may take, its login included.
const LOGS_IN_WITHIN: Duration = Duration::from_secs(12);

/// How long the command may take until it hands its stream over.
const STARTS_WITHIN: Duration = Duration::from_secs(4);

/// Delay from which one connection does not fill a link.
const FAR: Duration = Duration::from_millis(20);

/// Logins to a far machine, and channels of each login. An sshd admits ten channels a login.
const LOGINS: usize = 3;
const CHANNELS: usize = 4;

/// Channels where the machine is near: each has its window, and they share one connection.
const NEAR_CHANNELS: usize = 2;

/// Logins, and the streams on them.
pub(super) async fn streams(
    key: &LentKey,
    reach: &ReachByLogin,
) -> Result<(Vec<SshConnection>, Vec<Stream>), Fault> {
    let (first, at) = first(key, reach).await?;
    let is_far = first.round_trip().is_some_and(|delay| delay >= FAR);
    let wanted = match (reach.streams, is_far) {
        (0, false) => NEAR_CHANNELS,
        (0, true) => LOGINS * CHANNELS,
        (asked, _) => usize::from(asked).min(LOGINS * CHANNELS),
    };
    let logins = wanted.div_ceil(CHANNELS);
    let mut connections = vec![first];
    for index in 1..logins {
        // A server that admits no more has admitted enough.
        let Ok(further) = log_in(key, reach, at, index).await else { break };
        connections.push(further);
    }
    let opening = connections.iter().flat_map(|login| {
        (0..CHANNELS).map(|_| tokio::time::timeout(STARTS_WITHIN, stream(login, reach.mark)))
    });
    let streams: Vec<_> =
        join_all(opening.take(wanted)).await.into_iter().filter_map(Result::ok).flatten().collect();
    if streams.is_empty() { Err(fault(FaultKind::NotFound)) } else { Ok((connections, streams)) }
}

async fn first(key: &LentKey, reach: &ReachByLogin) -> Result<(SshConnection, usize), Fault> {
    let mut refused = false;
    for at in 0..reach.addresses.len() {
        match log_in(key, reach, at, 0).await {
            Ok(login) => return Ok((login, at)),
            Err(was_refused) => refused |= was_refused,
        }
    }
    Err(fault(if refused { FaultKind::Permission } else { FaultKind::NotFound }))
}

/// A login; where there is none, whether it was refused.
async fn log_in(
    key: &LentKey,
    reach: &ReachByLogin,
    at: usize,
    index: usize,
) -> Result<SshConnection, bool> {
    let Some(&address) = reach.addresses.get(at) else { return Err(false) };
    let seed = u64::from(reach.mark[0]) + index as u64;
    let login = SshConnection::by_lent_key(address, &reach.user, &reach.host_key, key, seed);
    match tokio::time::timeout(LOGS_IN_WITHIN, login).await {
        Ok(Ok(login)) => Ok(login),
        Ok(Err(error)) => Err(error.class() != SshErrorClass::Network),
        Err(_) => Err(false),
    }
}

/// A stream behind its mark.
async fn stream(login: &SshConnection, mark: [u8; 32]) -> Option<Stream> {
    let mut stream = login.exec("xfer".to_owned()).await.ok()?.stream;
    let (mut scan, mut buffer) = (Sentinel(mark).scan(), [0; 32]);
    loop {
        // Not a byte further: the greeting of the session follows.
        let wanted = scan.missing();
        let read = stream.reader.read(&mut buffer[..wanted]).await.ok().filter(|read| *read > 0)?;
        if scan.feed(&buffer[..read]).ok()?.is_some() {
            return Some(stream);
        }
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, Operation::Open, RelPath::root())
}
