//! How one stream begins: each side sends a hello, and neither believes anything before it.
//!
//! The side that asks speaks first. The side that answers stays silent until a whole hello was
//! read, so that whatever else connects learns nothing and is gone at the deadline.

use std::time::Duration;

use crate::hello::{
    Agreed, Hello, HelloError, HelloProgress, HelloReader, Role, SessionId, negotiate,
};

/// From the first moment of a stream to a complete hello.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// A stream whose peer has not greeted yet.
#[derive(Clone, Debug)]
pub struct AwaitHello {
    ours: Ours,
    reader: HelloReader,
    deadline: Duration,
}

/// A stream whose two sides agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// What both hold to.
    pub agreed: Agreed,
    /// What the peer said.
    pub theirs: Hello,
    /// Bytes to send now, where this side answers.
    pub reply: Option<Vec<u8>>,
    /// How many of the last bytes given belonged to the hello.
    pub taken: usize,
}

/// Where a handshake stands after some bytes.
#[derive(Clone, Debug)]
pub enum HandshakeNext {
    /// More bytes are needed: read at most this many.
    Await(AwaitHello, usize),
    /// The stream is open.
    Open(Open),
}

/// How a handshake failed. The stream is to be closed, after `reply` was sent if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HandshakeError {
    /// Why.
    pub reason: HandshakeFailure,
    /// Our hello, so that a peer which did greet can tell its user why too.
    pub reply: Option<Vec<u8>>,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    /// The hello is none, or there is nothing in common.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The peer took longer than [`HELLO_DEADLINE`].
    #[error("the far side did not greet in time")]
    Late,
}

#[derive(Clone, Debug)]
enum Ours {
    /// Our hello, sent.
    Sent(Hello),
    /// Our hello, to be sent in answer; its stream is the peer's choice, and so is the session
    /// where none is expected.
    Answer(Hello, Option<SessionId>),
}

impl AwaitHello {
    /// Begins as the side that asks; send the bytes at once.
    #[must_use]
    pub fn asking(ours: Hello, now: Duration) -> (Self, Vec<u8>) {
        (Self::new(Ours::Sent(ours), now), ours.encode())
    }

    /// Begins as the side that answers. `session` is the only one that is let in, or `None` on a
    /// channel that belongs to one session by itself. Of `offer`, session and stream are ignored.
    #[must_use]
    pub fn answering(offer: Hello, session: Option<SessionId>, now: Duration) -> Self {
        Self::new(Ours::Answer(Hello { role: Role::Agent, ..offer }, session), now)
    }

    /// The moment at which [`Self::read`] begins to fail; wake up for it.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Takes the next bytes; none, when only time has passed.
    pub fn read(mut self, input: &[u8], now: Duration) -> Result<HandshakeNext, HandshakeError> {
        if now >= self.deadline {
            return Err(HandshakeError { reason: HandshakeFailure::Late, reply: None });
        }
        match self.reader.read(input) {
            Ok(HelloProgress::NeedsMore(more)) => Ok(HandshakeNext::Await(self, more)),
            Ok(HelloProgress::Complete { hello, taken }) => {
                self.ours.meet(hello, taken).map(HandshakeNext::Open)
            }
            Err(reason) => Err(HandshakeError { reason: reason.into(), reply: None }),
        }
    }

    fn new(ours: Ours, now: Duration) -> Self {
        let deadline = now.saturating_add(HELLO_DEADLINE);
        Self { ours, reader: HelloReader::new(), deadline }
    }
}

impl Ours {
    fn meet(self, theirs: Hello, taken: usize) -> Result<Open, HandshakeError> {
        let (ours, reply) = match self {
            Self::Sent(ours) => (ours, None),
            Self::Answer(offer, session) => {
                let session = session.unwrap_or(theirs.session);
                let ours = Hello { session, stream: theirs.stream, ..offer };
                (ours, Some(ours))
            }
        };
        match negotiate(&ours, &theirs) {
            Ok(agreed) => {
                Ok(Open { agreed, theirs, reply: reply.map(|hello| hello.encode()), taken })
            }
            Err(reason) => {
                // A wrong session is told nothing, and above all not which one would be right.
                let reply = reply.filter(|_| matches!(reason, HelloError::Version { .. }));
                let reply = reply.map(|ours| Hello { session: theirs.session, ..ours }.encode());
                Err(HandshakeError { reason: reason.into(), reply })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::{MAGIC, VERSION_MAX};

    const SESSION: SessionId = SessionId([9; 16]);

    fn hello(role: Role) -> Hello {
        Hello::new(role, SESSION, 5)
    }

    fn agent(session: Option<SessionId>) -> AwaitHello {
        let nobody = Hello::new(Role::Agent, SessionId([0; 16]), 0);
        AwaitHello::answering(nobody, session, Duration::ZERO)
    }

    fn open(state: AwaitHello, input: &[u8]) -> Open {
        match state.read(input, Duration::ZERO).unwrap() {
            HandshakeNext::Open(open) => open,
            HandshakeNext::Await(_, more) => panic!("{more} bytes more"),
        }
    }

    fn fail(state: AwaitHello, input: &[u8]) -> HandshakeError {
        state.read(input, Duration::ZERO).unwrap_err()
    }

    #[test]
    fn two_sides_meet() {
        for session in [None, Some(SESSION)] {
            let (asking, first) = AwaitHello::asking(hello(Role::Controller), Duration::ZERO);
            let there = open(agent(session), &first);
            assert_eq!(there.theirs, hello(Role::Controller));
            let here = open(asking, &there.reply.unwrap());
            assert_eq!(here.theirs, hello(Role::Agent));
            assert_eq!(here.agreed, there.agreed);
            assert_eq!(here.reply, None);
        }
    }

    #[test]
    fn bytes_may_trickle_but_not_past_the_deadline() {
        let (_, bytes) = AwaitHello::asking(hello(Role::Controller), Duration::ZERO);
        let step = Duration::from_millis(100);
        let mut state = agent(None);
        assert_eq!(state.deadline(), HELLO_DEADLINE);
        for (i, byte) in (0..).zip(&bytes[..bytes.len() - 1]) {
            match state.read(&[*byte], step * i).unwrap() {
                HandshakeNext::Await(next, more) => (state, _) = (next, assert!(more > 0)),
                HandshakeNext::Open(_) => panic!("too early"),
            }
        }
        let late = state.clone().read(&bytes[bytes.len() - 1..], HELLO_DEADLINE).unwrap_err();
        assert_eq!(late, HandshakeError { reason: HandshakeFailure::Late, reply: None });
        let silent = state.clone().read(&[], HELLO_DEADLINE - step).unwrap();
        assert!(matches!(silent, HandshakeNext::Await(_, 1)));
        assert_eq!(open(state, &bytes[bytes.len() - 1..]).taken, 1);
    }

    /// Rows: B-W8, B-W9.
    #[test]
    fn strangers_are_told_nothing() {
        let wrong_session = Hello { session: SessionId([1; 16]), ..hello(Role::Controller) };
        let reflected = hello(Role::Agent);
        for (bytes, reason) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), HelloError::NotOurs),
            ([&MAGIC[..], &[0, 0]].concat(), HelloError::TooLong(0)),
            ([&MAGIC[..], &[1, 0, 1]].concat(), HelloError::Malformed),
            (wrong_session.encode(), HelloError::Session),
            (reflected.encode(), HelloError::Reflected),
        ] {
            let error = fail(agent(Some(SESSION)), &bytes);
            assert_eq!(error, HandshakeError { reason: reason.into(), reply: None });
        }
    }

    #[test]
    fn a_later_version_is_told_why() {
        let newer = Hello {
            version_min: VERSION_MAX + 1,
            version_max: VERSION_MAX + 10,
            ..hello(Role::Controller)
        };
        let error = fail(agent(Some(SESSION)), &newer.encode());
        assert!(matches!(error.reason, HandshakeFailure::Hello(HelloError::Version { .. })));
        let (asking, _) = AwaitHello::asking(newer, Duration::ZERO);
        let theirs = fail(asking, &error.reply.unwrap());
        assert!(matches!(theirs.reason, HandshakeFailure::Hello(HelloError::Version { .. })));
    }

    #[test]
    fn our_own_hello_does_not_open_a_stream() {
        let (asking, bytes) = AwaitHello::asking(hello(Role::Controller), Duration::ZERO);
        assert_eq!(fail(asking, &bytes).reason, HelloError::Reflected.into());
    }
}
