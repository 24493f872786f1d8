//! Data ports tried one kind at a time, so that each can be measured alone.

use std::time::Duration;

use futures_util::future::join_all;
use xfer_protocol::data_port::{Carrier, Listening};

use super::candidates::{Candidate, kind_of};
use super::race::{Keys, Link, Reached, Streams, Unreached, further, race};
use super::{Ladder, PAYLOAD_WAITS, listen, reversed};
use crate::connect::survey::{OpenWay, Shut, WayKind};
use crate::endpoint::remote::Tier;
use crate::transport::keys::SessionKey;
use crate::transport::quic::QuicConnection;

/// The data ports of a session, and where they may be dialled.
pub(in crate::connect) struct Doors {
    keys: Keys,
    listening: Listening,
    candidates: Vec<Candidate>,
}

/// One that was opened, for its further streams.
pub(in crate::connect) struct Door {
    candidate: Candidate,
    connection: Option<QuicConnection>,
    /// Whether the far side dialled.
    reversed: bool,
}

impl Ladder {
    /// Has the far side open its data ports, and finds out where they are dialled.
    pub(in crate::connect) async fn doors(&self) -> Result<Doors, String> {
        let own = SessionKey::generate().map_err(|error| error.to_string())?;
        let named = self.named_ports().await;
        let listening = self.remote.listen(listen(&own, &named)).await;
        let listening = listening.map_err(|error| error.to_string())?;
        let candidates = self.candidates(&named, &listening).await;
        let keys = Keys { own, peer: listening.key };
        Ok(Doors { keys, listening, candidates })
    }

    /// Has payload take one stream to a data port of a carrier.
    pub(in crate::connect) async fn open_door(
        &mut self,
        doors: &Doors,
        carrier: Carrier,
    ) -> Result<OpenWay, Shut> {
        let of_carrier: Vec<_> =
            doors.candidates.iter().filter(|found| found.carrier == carrier).cloned().collect();
        let (reached, reversed) = match self.answering(doors, &of_carrier).await {
            Ok(reached) => (reached, false),
            Err((reasons, stranger)) => match self.dialled_back(doors, carrier, 1).await {
                Some(reached) => (reached, true),
                None => {
                    let refused = refusals(&doors.listening, carrier);
                    let told = if of_carrier.is_empty() { refused } else { reasons };
                    let place = of_carrier.first().map(|first| first.address.to_string());
                    let place = place.unwrap_or_default();
                    let was_tried = !of_carrier.is_empty();
                    let reason = told.join("; ");
                    return Err(Shut { place, reason, was_tried, stranger });
                }
            },
        };
        let Reached { candidate, link } = reached;
        let Streams { streams, connection, .. } = link.streams(1).await;
        let place = candidate.address.to_string();
        let lost = |reason: String| Shut {
            place: place.clone(),
            reason,
            was_tried: true,
            stranger: false,
        };
        let Some(stream) = streams.into_iter().next() else {
            return Err(lost("the connection was lost".to_owned()));
        };
        let gauges = stream.writer.gauge().into_iter().collect();
        let index = self.indexes(1).start;
        let joined = self.remote.add_stream(stream, index, Tier::Direct).await;
        joined.map_err(|error| lost(error.to_string()))?;
        let reason =
            if reversed { "the far side dials this machine" } else { "its port is dialled" };
        let (kind, reason) = (WayKind::of(carrier), reason.to_owned());
        let door = Some(Door { candidate, connection, reversed });
        let tier = Tier::Direct;
        Ok(OpenWay { kind, place, direct: true, reason, gauges, tier, door })
    }

    /// Has payload take as many streams as a transfer would.
    pub(in crate::connect) async fn widen_door(&mut self, doors: &Doors, way: &mut OpenWay) {
        let Some(door) = &way.door else { return };
        let carrier = door.candidate.carrier;
        let count = self.streams_of(carrier).saturating_sub(1);
        let streams = if let Some(connection) = &door.connection {
            Link::Quic(connection.clone()).streams(count).await.streams
        } else if door.reversed {
            match self.dialled_back(doors, carrier, count).await {
                Some(Reached { link, .. }) => link.streams(count).await.streams,
                None => Vec::new(),
            }
        } else {
            let dialling = (0..count).map(|_| further(&door.candidate, &doors.keys));
            join_all(dialling).await.into_iter().flatten().collect()
        };
        if door.connection.is_none() {
            way.gauges.extend(streams.iter().filter_map(|stream| stream.writer.gauge()));
        }
        let indexes = self.indexes(streams.len());
        let joining = streams.into_iter().zip(indexes);
        let joining =
            joining.map(|(stream, index)| self.remote.add_stream(stream, index, Tier::Direct));
        // One that is refused leaves the others.
        let _joined = join_all(joining).await;
    }

    /// The first of some places that proves the far side's key; or why none does, and whether
    /// somebody else answered.
    async fn answering(
        &self,
        doors: &Doors,
        candidates: &[Candidate],
    ) -> Result<Reached, (Vec<String>, bool)> {
        let (mut reasons, mut strangers) = (Vec::new(), false);
        let failed = |Unreached { candidate, reason, stranger, .. }: Unreached| {
            strangers |= stranger;
            reasons.push(format!("{}: {reason}", candidate.address));
        };
        let patience = self.patience();
        let racing = race(candidates, &doors.keys, self.remote.round_trip(), failed);
        match tokio::time::timeout(patience, racing).await {
            Ok(Some((reached, _))) => Ok(reached),
            Ok(None) => Err((reasons, strangers)),
            Err(_) => {
                let carrier = candidates.first().map_or(Carrier::Tcp, |first| first.carrier);
                let (what, millis) = (carrier.to_string().to_uppercase(), patience.as_millis());
                reasons.push(format!("nothing answered by {what} within {millis} ms"));
                Err((reasons, strangers))
            }
        }
    }

    /// Streams that the far side makes by dialling this one, where it can.
    async fn dialled_back(
        &self,
        doors: &Doors,
        carrier: Carrier,
        streams: usize,
    ) -> Option<Reached> {
        let addresses = reversed::addresses(self.here, doors.listening.controller);
        if addresses.is_empty() {
            return None;
        }
        let near = reversed::Near { remote: &self.remote, keys: &doors.keys, addresses, streams };
        let reached = near.reached(carrier);
        tokio::time::timeout(self.patience(), reached).await.ok()?.ok()
    }

    /// How long a way may take to answer, as in a transfer whose payload waits.
    fn patience(&self) -> Duration {
        PAYLOAD_WAITS.max(self.remote.round_trip() * 4)
    }
}

/// Why no port of a carrier is dialled.
fn refusals(listening: &Listening, carrier: Carrier) -> Vec<String> {
    let of_carrier = listening.ports.iter().filter(|port| port.inside.carrier == carrier);
    let refused = of_carrier.filter_map(|port| {
        port.refused.map(|refusal| format!("port {}: {refusal}", port.inside.number))
    });
    let refused: Vec<_> = refused.collect();
    if refused.is_empty() {
        return vec![format!("no data port of kind {} is known there", kind_of(carrier))];
    }
    refused
}
