//! What arrives at a data port, until it has proven its key or its time is over.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::transport::Stream;
use crate::transport::quic::{QuicArrival, QuicConnection, QuicPort, UNPROVEN_MAX};
use crate::transport::tls::Acceptor;

/// How long anybody may take to prove a key.
pub(in crate::agent) const PROOF_DEADLINE: Duration = Duration::from_secs(5);

/// Strangers that may be about to prove a key at a time, over all ports.
const STRANGERS_MAX: usize = 24;

/// The same for addresses that are known, such as the one from which the session itself comes: a
/// flood from elsewhere takes none of these.
const OWN_MAX: usize = 8;

/// How long a listener rests when the system gives it no connection, as without a descriptor.
pub(in crate::agent) const REST: Duration = Duration::from_millis(100);

/// Addresses that are remembered as those of somebody who proved a key.
const KNOWN_MAX: usize = 256;

/// Places of those who have not proven a key.
#[derive(Clone)]
pub(in crate::agent) struct Places {
    /// The last that proved a key is the last here.
    known: Arc<Mutex<VecDeque<IpAddr>>>,
    own: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Places {
    pub(in crate::agent) fn new(controller: Option<IpAddr>) -> Self {
        let known = controller.map(|address| address.to_canonical()).into_iter().collect();
        Self {
            known: Arc::new(Mutex::new(known)),
            own: Arc::new(Semaphore::new(OWN_MAX)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
        }
    }

    /// Remembers an address from which a key was proven.
    pub(in crate::agent) fn learn(&self, from: IpAddr) {
        let from = from.to_canonical();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|address| *address != from);
        known.push_back(from);
        if known.len() > KNOWN_MAX {
            known.pop_front();
        }
    }

    /// A place for whoever comes from there; `None` when all are taken.
    pub(in crate::agent) fn take(&self, from: IpAddr) -> Option<OwnedSemaphorePermit> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = known.contains(&from.to_canonical());
        drop(known);
        let own = is_own.then(|| Arc::clone(&self.own).try_acquire_owned().ok()).flatten();
        own.or_else(|| Arc::clone(&self.strangers).try_acquire_owned().ok())
    }

    /// Whether so many strangers are there that their addresses must be proven.
    pub(in crate::agent) fn is_crowded(&self) -> bool {
        STRANGERS_MAX - self.strangers.available_permits() >= UNPROVEN_MAX
    }
}

/// Takes connections of TCP until the session is over.
pub(super) async fn over_tcp(
    listener: TcpListener,
    port: Acceptor,
    places: Places,
    arrivals: mpsc::Sender<Stream>,
    over: CancellationToken,
) {
    let mut proving = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = over.cancelled() => return,
        };
        while proving.try_join_next().is_some() {}
        let Ok((socket, from)) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        // Who finds no place is disconnected, and may come again.
        let Some(place) = places.take(from.ip()) else { continue };
        let (port, arrivals) = (port.clone(), arrivals.clone());
        proving.spawn(async move {
            let proven = port.accept(socket).await;
            drop(place);
            if let Ok(stream) = proven {
                let _session_over = arrivals.send(stream).await;
            }
        });
    }
}

/// Takes connections of QUIC until the session is over.
pub(super) async fn over_udp(
    port: QuicPort,
    places: Places,
    arrivals: mpsc::Sender<Stream>,
    over: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = port.next() => next,
            () = over.cancelled() => return,
        };
        while connections.try_join_next().is_some() {}
        let Some(arrival) = next else { return };
        if places.is_crowded() && !arrival.is_proven_address() {
            arrival.demand_address();
            continue;
        }
        let Some(place) = places.take(arrival.from()) else {
            arrival.ignore();
            continue;
        };
        let (arrivals, over) = (arrivals.clone(), over.clone());
        connections.spawn(prove(arrival, place, arrivals, over));
    }
}

async fn prove(
    arrival: QuicArrival,
    place: OwnedSemaphorePermit,
    arrivals: mpsc::Sender<Stream>,
    over: CancellationToken,
) {
    let proven = arrival.prove(PROOF_DEADLINE).await;
    drop(place);
    if let Ok(connection) = proven {
        streams_of(connection, arrivals, over).await;
    }
}

/// Hands over every stream of a connection.
pub(super) async fn streams_of(
    connection: QuicConnection,
    arrivals: mpsc::Sender<Stream>,
    over: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            next = connection.accept() => next,
            () = over.cancelled() => return,
        };
        let Ok(stream) = next else { return };
        if arrivals.send(stream).await.is_err() {
            return;
        }
    }
}
