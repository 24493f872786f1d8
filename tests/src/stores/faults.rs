//! A proxy in front of a store that does, at chosen requests, what networks and stores do at times
//!
//! A [`When`] says which requests are meant, an [`Action`] what becomes of them, and the [`Fault`]
//! that comes of both counts how often it fired: a test that saw none has proven nothing. Other
//! requests pass as they are. Rules are tried in the order in which they were made.

mod action;
mod serve;
mod when;

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::action::{Action, Cut};
pub use self::when::When;
use super::http::{self, Message};

/// What passed the proxy
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Such as `PUT`
    pub method: String,
    /// Path and query
    pub target: String,
    /// What was answered; none where nothing was
    pub status: Option<u16>,
    /// Bytes of the request's body that came
    pub sent: u64,
}

/// The proxy, which answers until it is dropped
#[derive(Debug)]
pub struct Faults {
    address: SocketAddr,
    road: Arc<Road>,
}

/// What all its connections share
#[derive(Debug)]
struct Road {
    store: u16,
    rules: Mutex<Vec<Arc<Rule>>>,
    passed: Mutex<Vec<Passed>>,
}

struct Rule {
    when: When,
    action: Action,
    state: Mutex<RuleState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RuleState {
    seen: usize,
    fired: usize,
    released: bool,
    kept: Option<Message>,
}

/// A rule, as its test sees it
#[derive(Clone, Debug)]
pub struct Fault(Arc<Rule>);

impl Faults {
    /// In front of the store on that port of this machine
    pub fn before(store: u16) -> Self {
        let (rules, passed) = (Mutex::default(), Mutex::default());
        let road = Arc::new(Road { store, rules, passed });
        let address = http::listen(&road, |road, stream| drop(serve::connection(road, stream)));
        Self { address, road }
    }

    /// The port on 127.0.0.1
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Does that from now on
    pub fn rule(&self, when: When, action: Action) -> Fault {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let rule = Arc::new(Rule { when, action, state, changed });
        lock(&self.road.rules).push(Arc::clone(&rule));
        Fault(rule)
    }

    /// Does nothing of what it was told so far
    pub fn forget(&self) {
        lock(&self.road.rules).clear();
    }

    /// What passed until now, in the order in which it ended
    pub fn passed(&self) -> Vec<Passed> {
        lock(&self.road.passed).clone()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.forget();
        let gone = Road { store: 0, rules: Mutex::default(), passed: Mutex::default() };
        self.road = Arc::new(gone);
        // Wakes whoever waits for the next connection, to find nobody.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

impl Fault {
    /// How often it happened
    pub fn fired(&self) -> usize {
        lock(&self.0.state).fired
    }

    /// Panics unless it happened
    pub fn assert_fired(&self) {
        assert!(self.fired() > 0, "never fired: {:?}", self.0);
    }

    /// Waits until it has happened so often; false if it has not after `within`
    pub fn wait(&self, times: usize, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut state = lock(&self.0.state);
        while state.fired < times {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.0.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Lets go what [`Action::Hold`] holds, and holds nothing more
    pub fn release(&self) {
        lock(&self.0.state).released = true;
        self.0.changed.notify_all();
    }
}

impl Road {
    /// The rule that happens to this request
    fn due(&self, request: &Message) -> Option<(Arc<Rule>, usize)> {
        let rules = lock(&self.rules).clone();
        let mut due = None;
        for rule in rules.iter().filter(|rule| rule.when.means(request)) {
            let mut state = lock(&rule.state);
            state.seen += 1;
            let is_kept = matches!(rule.action, Action::Again(number) if number == state.seen);
            let is_due = is_kept || rule.when.covers(state.seen);
            if due.is_none() && is_due {
                state.fired += usize::from(!is_kept);
                due = Some((Arc::clone(rule), state.seen));
                rule.changed.notify_all();
            }
        }
        due
    }
}

impl Rule {
    fn wait_for<T>(&self, mut wanted: impl FnMut(&RuleState) -> Option<T>) -> T {
        let mut state = lock(&self.state);
        loop {
            if let Some(found) = wanted(&state) {
                return found;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}, {:?}", self.action, self.when, lock(&self.state))
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
