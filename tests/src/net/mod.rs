//! The network laboratory: hosts that only links join, and links with the weather of real ones
//!
//! A [`Host`] is a network namespace. A [`Link`] joins two of them by a TUN device each, and
//! carries every packet itself, so that it needs nothing of the kernel's queueing disciplines: it
//! decides what is late, lost, bent or readdressed by its [`Weather`], which changes while packets
//! are under way, and counts what it did. One seed gives one sequence of decisions.
//!
//! Root, `/dev/net/tun` and `ip` of iproute2 are needed; where they are missing a test fails.

mod burst;
mod counts;
mod fate;
mod host;
mod lane;
mod link;
mod packet;
mod selection;
mod translation;
mod tun;
mod weather;

pub use crate::relay::Direction;
pub use counts::Counts;
pub use host::Host;
pub use link::{Link, Setup};
pub use packet::Protocol;
pub use selection::Selection;
pub use translation::Mapping;
pub use weather::Weather;

/// Two hosts and the link between them
#[derive(Debug)]
pub struct Lab {
    /// The link; packets of `near` go [`Direction::Out`], those of `far` [`Direction::In`]
    pub link: Link,
    /// Where the program runs
    pub near: Host,
    /// Where the server runs
    pub far: Host,
}

impl Lab {
    /// The same weather in both directions
    pub fn new(weather: &Weather) -> Self {
        Self::with(&Setup::default(), weather)
    }

    /// The same with a link of another kind
    pub fn with(setup: &Setup, weather: &Weather) -> Self {
        let (near, far) = (Host::new(), Host::new());
        let link = Link::between(&near, &far, setup, weather);
        Self { link, near, far }
    }
}
