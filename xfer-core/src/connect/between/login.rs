//! Where no port leads from one machine to the other, the source's logs in at the destination's.
//!
//! Its key is made there, in memory, for this one transfer. The destination's agent lets it in from
//! the source's addresses, for one command and for less than an hour, and it is taken back as soon
//! as the streams are open.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use xfer_protocol::limits::DIALS_MAX;
use xfer_protocol::message::passage::{Lend, ReachByLogin, Reached};

use super::{End, seconds, streams_of};
use crate::options::{Compression, TransferOptions};
use crate::transport::ssh::SshConnection;

/// Asks when the key is to expire, in the machine's own time: sshd judges it by that, whatever zone
/// its user likes.
const EXPIRES: &str = "sh -c 'unset TZ; date -d \"@$(($(date +%s)+1800))\" +%Y%m%d%H%M%S'";

/// Characters of the answer.
const MOMENT: usize = 14;

/// Bytes of the answer, what a login script prints included.
const SAID_MAX: usize = 64 << 10;

/// Has the source's machine log in at the destination's; why not, where that cannot be.
pub(super) async fn reached(
    from: &End<'_>,
    to: &End<'_>,
    options: &TransferOptions,
    unique: u64,
) -> Result<Reached, String> {
    let told = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let (session, place) = (to.remote.session(), &to.connected.place);
    let sources = from.sources();
    let addresses = to.doors();
    if sources.is_empty() || addresses.is_empty() {
        return Err(format!("the address of {place}, or that from which it is dialled, is hidden"));
    }
    let host_key = to.login.proven_host_key(to.connected.rented.is_some());
    let host_key = host_key.ok_or_else(|| format!("the host key of {place} is not proven"))?;
    let expires = expires(to.login).await;
    let expires = expires.ok_or_else(|| format!("{place} does not tell its time"))?;
    let seed = [&session.0[..], &unique.to_le_bytes()].concat();
    let mark = blake3::derive_key("xfer deliveries, mark of a stream", &seed);
    let key = from.remote.make_login().await.map_err(|error| told("no key is made", &error))?;
    let lend = Lend { session, key, from: sources, expires, mark };
    let lent = to.remote.lend(lend).await;
    lent.map_err(|error| told(&format!("{place} lets no other machine in"), &error))?;
    let reach = ReachByLogin {
        session,
        user: to.login.config().user.clone(),
        host_key,
        addresses,
        mark,
        streams: streams_of(&options.network),
        compress: options.network.compression != Compression::Never,
        stall: seconds(options.retry.stall),
    };
    let reached = from.remote.reach_by_login(reach).await;
    // Its streams stand, or never will: the key is worth nothing from here on.
    let reclaimed = to.remote.reclaim(session).await;
    let reached = reached.map_err(|error| {
        told(&format!("it does not reach the sshd of {place}, or is not let in"), &error)
    })?;
    reclaimed.map_err(|error| told("the key that was lent was not taken back", &error))?;
    Ok(reached)
}

async fn expires(login: &SshConnection) -> Option<String> {
    let said = login.run(EXPIRES.to_owned(), Bytes::new(), SAID_MAX).await.ok()?.stdout;
    moment(&String::from_utf8_lossy(&said))
}

/// The last line that is a moment.
fn moment(said: &str) -> Option<String> {
    let is_one = |line: &&str| line.len() == MOMENT && line.bytes().all(|b| b.is_ascii_digit());
    said.lines().map(str::trim).rfind(is_one).map(str::to_owned)
}

impl End<'_> {
    /// Addresses from which this machine may be seen to dial.
    fn sources(&self) -> Vec<IpAddr> {
        let row = self.connected.rented.as_ref();
        let near = row.iter().flat_map(|row| row.near.iter().copied());
        let ways = row.iter().flat_map(|row| &row.logins);
        let direct = ways.filter(|way| way.direct).filter_map(|way| way.host.parse().ok());
        let mut all: Vec<IpAddr> = self.dialled().into_iter().chain(direct).chain(near).collect();
        all.retain(|address| !address.is_unspecified() && !address.is_multicast());
        let mut seen = std::collections::HashSet::new();
        all.retain(|address| seen.insert(*address));
        all.truncate(DIALS_MAX);
        all
    }

    /// Where its sshd may be dialled.
    fn doors(&self) -> Vec<SocketAddr> {
        let port = self.login.config().port;
        let own = self.dialled().map(|address| SocketAddr::new(address, port));
        let ways = self.connected.rented.iter().flat_map(|row| &row.logins);
        let direct = ways
            .filter(|way| way.direct)
            .filter_map(|way| Some(SocketAddr::new(way.host.parse().ok()?, way.port)));
        let mut all: Vec<_> = own.into_iter().chain(direct).collect();
        all.dedup();
        all.truncate(DIALS_MAX);
        all
    }

    /// The address that its login led to, where nothing lies in between.
    fn dialled(&self) -> Option<IpAddr> {
        let ends = self.login.ends().filter(|_| self.login.is_direct());
        ends.map(|ends| ends.there).filter(|_| self.connected.proxy.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_found_behind_what_a_login_prints() {
        for (said, expected) in [
            ("Welcome\n20261231235959\n", Some("20261231235959")),
            ("20261231235959", Some("20261231235959")),
            ("2026-12-31\n", None),
            ("202612312359590", None),
            ("", None),
        ] {
            assert_eq!(moment(said).as_deref(), expected, "{said:?}");
        }
    }
}
