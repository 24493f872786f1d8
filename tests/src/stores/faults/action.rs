//! What becomes of a request

use std::fmt;
use std::sync::Arc;

use super::super::http::Message;

type Sent = Arc<dyn Fn(&mut Message) + Send + Sync>;
type Answered = Arc<dyn Fn(&Message, &mut Message) + Send + Sync>;

/// What is done to a request or to its answer
#[derive(Clone)]
pub enum Action {
    /// Is answered so, and the store learns nothing of it
    Answer(Message),
    /// Is done by the store, and answered so
    Instead(Message),
    /// Is done by the store; the connection is reset before the answer
    Lost,
    /// The connection is reset, and the store learns nothing of it
    Unheard,
    /// Waits for [`super::Fault::release`] before the store learns of it
    Hold,
    /// Reaches the store otherwise than it was sent, its body too
    Sent(Sent),
    /// Its answer is changed; the request is at hand, without its body
    Answered(Answered),
    /// Of its answer's body so many bytes come
    Cut(u64, Cut),
    /// Gets the answer that the so-many-th of these requests got, and not its own
    Again(usize),
}

/// How a body that is cut ends
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection is reset
    Reset,
    /// The connection ends; the head promises more
    Closed,
    /// The head promises no more than what comes
    Length,
    /// In chunks, the last of which comes early
    Chunks,
    /// The connection ends, and nothing promises more, as in HTTP/1.0
    Unframed,
}

impl Action {
    /// Is refused so, and the store learns nothing of it
    pub fn refuse(status: u16, code: &str) -> Self {
        Self::Answer(Message::refusal(status, code))
    }

    /// Is led elsewhere
    pub fn redirect(status: u16, to: &str) -> Self {
        let answer = Message::refusal(status, "PermanentRedirect");
        Self::Answer(answer.with("location", to))
    }

    /// Reaches the store changed
    pub fn sent(change: impl Fn(&mut Message) + Send + Sync + 'static) -> Self {
        Self::Sent(Arc::new(change))
    }

    /// Its answer is changed
    pub fn answered(change: impl Fn(&Message, &mut Message) + Send + Sync + 'static) -> Self {
        Self::Answered(Arc::new(change))
    }

    /// A field of the answer has another value
    pub fn field(name: &'static str, value: &'static str) -> Self {
        Self::answered(move |_, answer| answer.set(name, value))
    }

    /// A field of the answer is missing
    pub fn without_field(name: &'static str) -> Self {
        Self::answered(move |_, answer| answer.remove(name))
    }

    /// A byte of the answer's body is another; the last one where there are fewer
    pub fn flip(at: usize) -> Self {
        Self::answered(move |_, answer| flip(&mut answer.body, at))
    }

    /// A byte of the request's body is another
    pub fn flip_sent(at: usize) -> Self {
        Self::sent(move |request| flip(&mut request.body, at))
    }
}

fn flip(bytes: &mut [u8], at: usize) {
    let last = bytes.len().saturating_sub(1);
    if let Some(byte) = bytes.get_mut(at.min(last)) {
        *byte ^= 1;
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => write!(f, "Answer({})", answer.first),
            Self::Instead(answer) => write!(f, "Instead({})", answer.first),
            Self::Lost => f.write_str("Lost"),
            Self::Unheard => f.write_str("Unheard"),
            Self::Hold => f.write_str("Hold"),
            Self::Sent(_) => f.write_str("Sent"),
            Self::Answered(_) => f.write_str("Answered"),
            Self::Cut(bytes, how) => write!(f, "Cut({bytes}, {how:?})"),
            Self::Again(number) => write!(f, "Again({number})"),
        }
    }
}
