//! From a byte stream to a connection whose host is proven

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::cipher::CHACHA20_POLY1305;
use russh::client::{Config, DisconnectReason, Handle, Handler, Session, connect_stream};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Limits, Names, Preferred, SshId};
use tokio::sync::watch;

use super::error::SshError;
use super::host_config::Liveness;
use super::host_key::HostKeyJudge;
use super::tuning::{
    CHANNEL_PACKETS_BUFFERED, CHANNEL_WINDOW_BYTES_MAX, CHANNEL_WINDOW_BYTES_MIN, PACKET_BYTES_MAX,
    REKEY_AFTER, REKEY_BYTES, WINDOW_RATE,
};
use super::wire::{BoxedDuplex, Greeting, Wire};

/// How far a host's identity is proven
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyTrust {
    /// Its key was listed before
    Known,
    /// A person accepted its key just now
    AcceptedByPerson,
    /// `StrictHostKeyChecking=accept-new` added its key just now, unseen
    AcceptedNew,
    /// `StrictHostKeyChecking=no` let it pass; worth a warning, and no base for a proof
    Unproven,
    /// The same though another key is listed for it
    Changed,
}

/// Set while a person is asked, so that limits wait
#[derive(Debug, Clone, Default)]
pub(super) struct Asking(Arc<AtomicUsize>);

impl Asking {
    /// Runs what a person takes part in
    pub(super) async fn person<T>(&self, work: impl Future<Output = T>) -> T {
        struct Done<'a>(&'a AtomicUsize);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        let _done = Done(&self.0);
        work.await
    }

    /// Runs a question that blocks its thread
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let answer = self.person(tokio::task::spawn_blocking(question)).await;
        answer.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// `None` when `work` takes longer than `limit`, a person's time not counted
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(limit, &mut work).await {
                Ok(done) => return Some(done),
                Err(_) if self.0.load(Ordering::Relaxed) > 0 => {}
                Err(_) => return None,
            }
        }
    }
}

/// What the peer said when it ended the connection, and what is known about its key
#[derive(Debug, Clone, Default)]
pub(super) struct PeerNotes(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    reason: Option<String>,
    disconnect: bool,
    host_key: Option<(PublicKey, HostKeyTrust)>,
}

impl PeerNotes {
    /// Why the connection ended
    pub(super) fn reason(&self) -> String {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.reason.clone().unwrap_or_else(|| "it closed the connection".to_owned())
    }

    /// How far the host is proven
    pub(super) fn trust(&self) -> HostKeyTrust {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.host_key.as_ref().map_or(HostKeyTrust::Unproven, |(_, trust)| *trust)
    }

    /// The key that the host has shown, and how far it is proven by it
    pub(super) fn host_key(&self) -> Option<(PublicKey, HostKeyTrust)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).host_key.clone()
    }

    /// Whether the peer itself ended the connection, with a reason
    pub(super) fn has_disconnect(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).disconnect
    }

    fn set_reason(&self, reason: &str, disconnect: bool) {
        let shown: String = reason.chars().take(300).collect();
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.reason = Some(shown.escape_debug().to_string());
        notes.disconnect = disconnect;
    }

    fn set_host_key(&self, key: PublicKey, trust: HostKeyTrust) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).host_key = Some((key, trust));
    }
}

/// Why a handshake failed
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The protocol engine failed
    Engine(russh::Error),
    /// We refused the host
    Refused(Box<SshError>),
    /// ChaCha20-Poly1305 without a strict key exchange: open to CVE-2023-48795
    Terrapin,
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> Self {
        Self::Engine(error)
    }
}

/// The callbacks of the protocol engine
pub(super) struct Guard {
    judge: HostKeyJudge,
    asking: Asking,
    notes: PeerNotes,
    _alive: watch::Sender<()>,
}

/// Ends with the connection, however that ends: the engine drops its callbacks last of all
#[derive(Debug, Clone)]
pub(super) struct Lifetime(watch::Receiver<()>);

impl Lifetime {
    /// Waits for the end of the connection
    pub(super) async fn over(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl Guard {
    pub(super) fn new(judge: HostKeyJudge, asking: Asking, notes: PeerNotes) -> (Self, Lifetime) {
        let (alive, lifetime) = watch::channel(());
        (Self { judge, asking, notes, _alive: alive }, Lifetime(lifetime))
    }
}

impl Handler for Guard {
    type Error = HandshakeError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, HandshakeError> {
        let key = shown.public_key();
        let verdict = self.judge.judge(&key, &self.asking).await;
        let trust = verdict.map_err(|error| HandshakeError::Refused(Box::new(error)))?;
        self.notes.set_host_key(key, trust);
        Ok(true)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), HandshakeError> {
        if names.cipher == CHACHA20_POLY1305 && !names.strict_kex() {
            return Err(HandshakeError::Terrapin);
        }
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<HandshakeError>,
    ) -> Result<(), HandshakeError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                self.notes.set_reason(&said.message, true)
            }
            DisconnectReason::Error(HandshakeError::Engine(error)) => {
                self.notes.set_reason(&error.to_string().to_lowercase(), false);
            }
            DisconnectReason::Error(_) => {}
        }
        Ok(())
    }
}

/// Greets, exchanges keys and proves the host
pub(super) async fn shake_hands(
    stream: BoxedDuplex,
    round_trip: Option<Duration>,
    preferred: Preferred,
    guard: Guard,
    greeting: &Greeting,
    liveness: Liveness,
) -> Result<Handle<Guard>, HandshakeError> {
    let config = Config {
        client_id: SshId::Standard(concat!("SSH-2.0-xfer_", env!("CARGO_PKG_VERSION")).into()),
        limits: Limits::new(REKEY_BYTES, REKEY_BYTES, REKEY_AFTER),
        window_size: window(round_trip),
        maximum_packet_size: PACKET_BYTES_MAX,
        channel_buffer_size: CHANNEL_PACKETS_BUFFERED,
        preferred,
        keepalive_interval: Some(liveness.ask_after),
        keepalive_max: liveness.unanswered_max,
        nodelay: true,
        ..Config::default()
    };
    connect_stream(
        Arc::new(config),
        Wire::new(stream, greeting.clone(), liveness.noticed_within()),
        guard,
    )
    .await
}

/// A channel's window for a link of this delay; the largest where the delay is not known
fn window(round_trip: Option<Duration>) -> u32 {
    let product = round_trip.map_or(u64::MAX, |time| {
        WINDOW_RATE.saturating_mul(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)) / 1_000_000
    });
    u32::try_from(product)
        .unwrap_or(u32::MAX)
        .clamp(CHANNEL_WINDOW_BYTES_MIN, CHANNEL_WINDOW_BYTES_MAX)
}
