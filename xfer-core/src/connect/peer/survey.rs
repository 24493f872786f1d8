//! The ways to a standing peer, opened one after the other so that each can be measured alone.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{DIAL_DEADLINE, Payload, PeerSession, QUIC_DEADLINE};
use crate::connect::Connector;
use crate::connect::direct::{LONG, QUIC_STREAMS, TLS_STREAMS};
use crate::connect::survey::{OpenWay, Shut, WayKind};
use crate::endpoint::remote::{RemoteEndpoint, Tier};
use crate::error::{Failure, NetworkReason, TransferError};
use crate::location::PeerHost;
use crate::options::{RouteChoice, TransferOptions};
use crate::transport::gauge::Gauge;
use crate::transport::quic::QuicConnection;

/// A peer, and what its streams are made of.
pub(in crate::connect) struct PeerWays {
    payload: Payload,
    choice: RouteChoice,
    /// The kind of the first stream, and what tells of it.
    first: WayKind,
    gauge: Option<Gauge>,
    connection: Option<QuicConnection>,
    index: u16,
}

impl Connector {
    /// Reaches a peer by its first stream.
    pub(in crate::connect) async fn peer_ways(
        &self,
        host: &PeerHost,
        options: &TransferOptions,
    ) -> Result<(PeerWays, Arc<RemoteEndpoint>), TransferError> {
        let PeerSession { payload, connection, gauge } =
            self.peer_session(host, options, &[]).await?;
        let remote = Arc::clone(&payload.remote);
        let first = if connection.is_some() { WayKind::Quic } else { WayKind::Tls };
        let choice = options.network.route;
        Ok((PeerWays { payload, choice, first, gauge, connection, index: 1 }, remote))
    }
}

fn shut(place: &str, reason: String) -> Shut {
    Shut { place: place.to_owned(), reason, was_tried: true, stranger: false }
}

impl PeerWays {
    pub(in crate::connect) fn choice(&self) -> RouteChoice {
        self.choice
    }

    /// What a session ends with that is lost.
    pub(in crate::connect) fn lost(&self) -> TransferError {
        let failure = Failure::new(self.payload.peer.place.clone(), NetworkReason::Lost);
        TransferError::Network(failure)
    }

    pub(in crate::connect) fn kinds(&self) -> Vec<WayKind> {
        match self.choice {
            RouteChoice::Tls => vec![WayKind::Tls],
            RouteChoice::Quic => vec![WayKind::Quic],
            _ => vec![WayKind::Tls, WayKind::Quic],
        }
    }

    pub(in crate::connect) async fn open(&mut self, kind: WayKind) -> Result<OpenWay, Shut> {
        let place = self.payload.address.to_string();
        let gauge = if kind == self.first {
            self.gauge.clone()
        } else if kind == WayKind::Quic {
            self.open_quic().await.map_err(|reason| shut(&place, reason))?
        } else {
            return Err(shut(&place, "nothing answered by TCP".to_owned()));
        };
        let reason = "the peer itself is dialled".to_owned();
        let gauges = gauge.into_iter().collect();
        let tier = if kind == self.first { Tier::First } else { Tier::Direct };
        Ok(OpenWay { kind, place, direct: true, reason, gauges, tier, door: None })
    }

    async fn open_quic(&mut self) -> Result<Option<Gauge>, String> {
        let opening = self.payload.peer.quic(self.payload.address, QUIC_DEADLINE);
        let (connection, stream) = opening.await.map_err(|error| error.to_string())?;
        let gauge = stream.writer.gauge();
        let index = self.indexes(1).start;
        let joined = self.payload.remote.add_stream(stream, index, Tier::Direct).await;
        joined.map_err(|error| error.to_string())?;
        self.connection = Some(connection);
        Ok(gauge)
    }

    pub(in crate::connect) async fn widen(&mut self, way: &mut OpenWay) {
        let is_far = self.payload.remote.round_trip() >= LONG;
        let by_itself = match way.kind {
            WayKind::Quic => QUIC_STREAMS,
            _ if is_far => TLS_STREAMS.1,
            _ => TLS_STREAMS.0,
        };
        let count = self.payload.asked.unwrap_or(by_itself);
        let Payload { peer, remote, address, .. } = self.payload.clone();
        if let (WayKind::Quic, Some(connection)) = (way.kind, self.connection.clone()) {
            // What the session began with carries no payload beside others.
            let count = if self.first == WayKind::Quic { count } else { count.saturating_sub(1) };
            let (peer, remote, connection) = (&peer, &remote, &connection);
            let joining = self.indexes(count).map(|index| async move {
                let stream = peer.stream_of(connection).await.ok()?;
                remote.add_stream(stream, index, Tier::Direct).await.ok()
            });
            drop(join_all(joining).await);
            return;
        }
        let (peer, remote) = (&peer, &remote);
        let joining = self.indexes(count).map(|index| async move {
            let stream = peer.tls(address, DIAL_DEADLINE).await.ok()?;
            let gauge = stream.writer.gauge();
            remote.add_stream(stream, index, Tier::Beside).await.ok()?;
            gauge
        });
        way.gauges.extend(join_all(joining).await.into_iter().flatten());
    }

    /// Names for so many streams, none of which was used before.
    fn indexes(&mut self, count: usize) -> std::ops::Range<u16> {
        let first = self.index;
        self.index = first.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        first..self.index
    }
}
