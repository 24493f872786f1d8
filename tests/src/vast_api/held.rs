//! Requests that are never answered, and answers that tell less than was done

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{Answer, State, VastApi};

/// A request that is not answered
#[derive(Debug)]
pub(super) struct Hold {
    method: String,
    /// Such requests that come before it
    skip: usize,
    /// Whether it is done all the same
    pub(super) heard: bool,
    told: Sender<()>,
}

/// What an order is answered
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) answer: Answer,
    /// Whether it is done all the same
    pub(super) heard: bool,
}

impl VastApi {
    /// Answers nothing to the request of that method which comes after so many of it, and keeps its
    /// connection until the other side gives it up; what is returned tells when it came. Where it
    /// is `heard`, what it asks is done.
    pub fn holds(&self, method: &str, skip: usize, heard: bool) -> Receiver<()> {
        let (told, came) = channel();
        self.lock().hold = Some(Hold { method: method.to_owned(), skip, heard, told });
        came
    }

    /// Answers the next order so, and does it only where it is `heard`
    pub fn answers_the_order_with(&self, answer: Answer, heard: bool) {
        self.lock().lost.push(Lost { answer, heard });
    }
}

impl Hold {
    /// Says that it came, and waits until nobody waits for its answer
    pub(super) fn keep(&self, mut stream: &TcpStream) -> Option<()> {
        self.told.send(()).ok()?;
        while stream.read(&mut [0; 64]).ok()? > 0 {}
        None
    }
}

impl State {
    /// Whether this is the request that is not answered
    pub(super) fn takes_hold(&mut self, method: &str) -> Option<Hold> {
        let hold = self.hold.as_mut().filter(|hold| hold.method == method)?;
        if hold.skip > 0 {
            hold.skip -= 1;
            return None;
        }
        self.hold.take()
    }
}
