//! The passage from this machine to another: what is read here is delivered there.
//!
//! The controller says where the other machine is dialled and which key answers there, or has that
//! machine come here. What is delivered, and under which number, it says with each read.

mod login;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use xfer_protocol::data_port::{Carrier, KeyDigest};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::hello::SessionId;
use xfer_protocol::message::passage::{
    Forward, Forwarded, ForwardedRead, ParcelIndex, Reach, ReachByLogin, Reached,
};
use xfer_protocol::path::RelPath;

use crate::clock::Clock;
use crate::endpoint::local::{LocalEndpoint, LocalOptions};
use crate::endpoint::remote::{Opening, RemoteEndpoint, SessionOptions, Tier};
use crate::endpoint::{Endpoint as _, EndpointError, Source};
use crate::options::Compression;
use crate::transport::Stream;
use crate::transport::keys::SessionKey;
use crate::transport::quic::{self, QuicConnection};
use crate::transport::ssh::{LentKey, SshConnection};
use crate::transport::tls::Dialler;

/// How long the other machine may take to answer, or to come.
const ANSWERS_WITHIN: Duration = Duration::from_secs(8);

/// How long further streams may take behind the first: nobody waits long for a greeting.
const OTHERS_WITHIN: Duration = Duration::from_secs(2);

/// How long the better carrier may take where the other one has answered.
const BETTER_WITHIN: Duration = Duration::from_secs(1);

/// Time in which a near machine answers: four round trips of less than 5 ms.
const NEAR: Duration = Duration::from_millis(20);

/// Streams of TLS to a near machine and to a far one, and of QUIC.
const TLS_STREAMS: (u16, u16) = (2, 8);
const QUIC_STREAMS: u16 = 16;

/// The least silence after which a stream to the other machine is given up.
const STALL_MIN: Duration = Duration::from_secs(1);

/// The passage of one session.
pub(super) struct Passage {
    clock: Arc<dyn Clock>,
    /// Streams that other machines brought.
    came: Mutex<mpsc::Receiver<Stream>>,
    open: Mutex<Option<Open>>,
    login: Mutex<Option<LentKey>>,
}

/// An open passage, and what it was opened for.
struct Open {
    asked: Asked,
    reached: Reached,
    remote: Arc<RemoteEndpoint>,
    _logins: Vec<SshConnection>,
}

#[derive(PartialEq)]
enum Asked {
    Ports(Reach),
    Login(ReachByLogin),
}

/// What answered first.
enum Answered {
    Tls(Box<Stream>, SocketAddr),
    Quic(QuicConnection),
}

impl Answered {
    fn carrier(&self) -> Carrier {
        match self {
            Self::Tls(..) => Carrier::Tcp,
            Self::Quic(_) => Carrier::Udp,
        }
    }
}

impl Passage {
    pub(super) fn new(clock: Arc<dyn Clock>, came: mpsc::Receiver<Stream>) -> Self {
        let (came, open, login) = (Mutex::new(came), Mutex::default(), Mutex::default());
        Self { clock, came, open, login }
    }

    /// Opens it, in place of one that leads elsewhere or is lost.
    pub(super) async fn reach(&self, key: SessionKey, reach: Reach) -> Result<Reached, Fault> {
        let (asked, mut open) = (Asked::Ports(reach.clone()), self.open.lock().await);
        if let Some(reached) = open.as_ref().and_then(|open| open.answers(&asked)) {
            return Ok(reached);
        }
        *open = None;
        let streams = if reach.addresses.is_empty() {
            self.comers(&reach).await
        } else {
            self.dialled(&key, &reach).await
        };
        let (carrier, streams) = streams.ok_or_else(unreached)?;
        let begun = self.begin(reach.session, (reach.compress, reach.stall), streams).await;
        let (remote, streams) = begun.ok_or_else(unreached)?;
        let reached = Reached { carrier: Some(carrier), streams };
        *open = Some(Open { asked, reached, remote, _logins: Vec::new() });
        Ok(reached)
    }

    /// The public half of this session's key to log in with.
    pub(super) async fn make_login(&self) -> Result<String, Fault> {
        let mut login = self.login.lock().await;
        if login.is_none() {
            *login = LentKey::generate();
        }
        let public = login.as_ref().and_then(LentKey::public);
        public.ok_or_else(|| Fault::new(FaultKind::Io, Operation::Open, RelPath::root()))
    }

    /// The same as [`Self::reach`] by logins, whose only command hands their streams over.
    pub(super) async fn reach_by_login(&self, reach: ReachByLogin) -> Result<Reached, Fault> {
        let (asked, mut open) = (Asked::Login(reach.clone()), self.open.lock().await);
        if let Some(reached) = open.as_ref().and_then(|open| open.answers(&asked)) {
            return Ok(reached);
        }
        *open = None;
        let key = self.login.lock().await.clone().ok_or_else(unreached)?;
        let (logins, streams) = login::streams(&key, &reach).await?;
        let begun = self.begin(reach.session, (reach.compress, reach.stall), streams).await;
        let (remote, streams) = begun.ok_or_else(unreached)?;
        let reached = Reached { carrier: None, streams };
        *open = Some(Open { asked, reached, remote, _logins: logins });
        Ok(reached)
    }

    /// Reads as the controller asks, and delivers what was read.
    pub(super) async fn forward<E: Source>(
        &self,
        endpoint: &E,
        forward: Forward,
    ) -> Result<Forwarded, EndpointError> {
        let remote = self.open.lock().await.as_ref().map(|open| Arc::clone(&open.remote));
        let Some(remote) = remote else { return Ok(Forwarded::Undelivered) };
        let (forwarded, payload) = match forward.read {
            ForwardedRead::Block(read) => {
                let (digests, payload) = endpoint.read_block(read).await?;
                (Forwarded::Block(digests), payload)
            }
            ForwardedRead::Pack(files) => {
                let (reads, payload) = endpoint.read_pack(files).await?;
                (Forwarded::Pack(reads), payload)
            }
        };
        match deliver(&remote, forward.parcel, payload).await {
            Ok(()) => Ok(forwarded),
            Err(_) => Ok(Forwarded::Undelivered),
        }
    }

    /// Streams that the other machine brings, by connections of its own.
    async fn comers(&self, reach: &Reach) -> Option<(Carrier, Vec<Stream>)> {
        let mut came = self.came.lock().await;
        let wanted = if reach.streams == 0 { TLS_STREAMS.0 } else { reach.streams };
        let mut streams = Vec::new();
        let first = tokio::time::timeout(ANSWERS_WITHIN, came.recv()).await.ok().flatten()?;
        streams.push(first);
        let others = async {
            while streams.len() < usize::from(wanted) {
                let Some(stream) = came.recv().await else { return };
                streams.push(stream);
            }
        };
        let _those_that_came = tokio::time::timeout(OTHERS_WITHIN, others).await;
        (!streams.is_empty()).then_some((Carrier::Tcp, streams))
    }

    async fn dialled(&self, key: &SessionKey, reach: &Reach) -> Option<(Carrier, Vec<Stream>)> {
        let (answered, took) = self.first(key, reach).await?;
        let carrier = answered.carrier();
        let by_itself = match carrier {
            Carrier::Udp => QUIC_STREAMS,
            Carrier::Tcp if took < NEAR => TLS_STREAMS.0,
            Carrier::Tcp => TLS_STREAMS.1,
        };
        let count = if reach.streams == 0 { by_itself } else { reach.streams };
        let streams: Vec<Stream> = match answered {
            Answered::Quic(connection) => {
                let opened = join_all((0..count).map(|_| connection.open())).await;
                opened.into_iter().filter_map(Result::ok).collect()
            }
            Answered::Tls(first, address) => {
                let further = (1..count).map(|_| tls(key, reach.key, address, OTHERS_WITHIN));
                let further = join_all(further).await.into_iter().flatten();
                std::iter::once(*first).chain(further).collect()
            }
        };
        (!streams.is_empty()).then_some((carrier, streams))
    }

    /// The better of the carriers that answer, and how long the first took.
    async fn first(&self, key: &SessionKey, reach: &Reach) -> Option<(Answered, Duration)> {
        let began = self.clock.elapsed();
        let mut dials = JoinSet::new();
        for &(carrier, address) in &reach.addresses {
            let (key, peer) = (key.clone(), reach.key);
            dials.spawn(async move {
                match carrier {
                    Carrier::Tcp => {
                        let stream = tls(&key, peer, address, ANSWERS_WITHIN).await?;
                        Some(Answered::Tls(Box::new(stream), address))
                    }
                    Carrier::Udp => {
                        let dialled = quic::dial(address, &key, peer, ANSWERS_WITHIN).await;
                        dialled.ok().map(Answered::Quic)
                    }
                }
            });
        }
        let first = next(&mut dials).await?;
        let took = self.clock.elapsed().saturating_sub(began);
        let better = if took < NEAR { Carrier::Tcp } else { Carrier::Udp };
        if first.carrier() == better {
            return Some((first, took));
        }
        let waited = async {
            loop {
                let other = next(&mut dials).await?;
                if other.carrier() == better {
                    return Some(other);
                }
            }
        };
        let other = tokio::time::timeout(BETTER_WITHIN, waited).await.ok().flatten();
        Some((other.unwrap_or(first), took))
    }

    /// Begins to speak on streams, with as many as the other machine answers on.
    async fn begin(
        &self,
        session: SessionId,
        (compress, stall): (bool, u16),
        streams: Vec<Stream>,
    ) -> Option<(Arc<RemoteEndpoint>, u16)> {
        let compression = if compress { Compression::Auto } else { Compression::Never };
        let stall = Duration::from_secs(stall.into()).max(STALL_MIN);
        let session = SessionOptions { stall, random: session.0, compression };
        let capabilities = LocalEndpoint::new(LocalOptions::default()).capabilities().clone();
        let mut streams = streams.into_iter();
        let remote = loop {
            let (first, clock) = (streams.next()?, Arc::clone(&self.clock));
            let opening = Opening::joining(SessionId(session.random), compression);
            let capabilities = capabilities.clone();
            let opened =
                RemoteEndpoint::open_with(first, capabilities, session, clock, opening, None);
            // One that was lost meanwhile leaves the others.
            if let Ok(remote) = opened.await {
                break Arc::new(remote);
            }
        };
        // The first stream of a session is the controller's.
        let joined = join_all((2..).zip(streams).map(|(index, stream)| {
            let remote = &remote;
            async move { remote.add_stream(stream, index, Tier::First).await }
        }));
        let joined = joined.await.into_iter().filter(Result::is_ok).count();
        Some((remote, u16::try_from(joined + 1).unwrap_or(u16::MAX)))
    }
}

impl Open {
    /// What was opened, where that is what is asked again and is still there.
    fn answers(&self, asked: &Asked) -> Option<Reached> {
        let is_there = self.asked == *asked && self.remote.payload_streams() > 0;
        is_there.then_some(self.reached)
    }
}

fn unreached() -> Fault {
    Fault::new(FaultKind::NotFound, Operation::Open, RelPath::root())
}

async fn next(dials: &mut JoinSet<Option<Answered>>) -> Option<Answered> {
    while let Some(dialled) = dials.join_next().await {
        if let Ok(Some(answered)) = dialled {
            return Some(answered);
        }
    }
    None
}

async fn tls(
    key: &SessionKey,
    peer: KeyDigest,
    address: SocketAddr,
    within: Duration,
) -> Option<Stream> {
    Dialler::new(key, peer).ok()?.dial(address, within).await.ok()
}

async fn deliver(
    remote: &RemoteEndpoint,
    parcel: ParcelIndex,
    payload: Bytes,
) -> Result<(), EndpointError> {
    // Files without bytes need none there.
    if payload.is_empty() { Ok(()) } else { remote.deliver(parcel, payload).await }
}
