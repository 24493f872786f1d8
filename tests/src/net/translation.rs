//! Other ports on one side of a link than on the other
//!
//! The far host may stand behind a map of ports, as a container does: an outside port leads to an
//! inside one. The near host may stand behind a translator that forgets which port it gave to a
//! flow, and gives it another. The map keeps no flow: a packet goes where the map leads now.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Direction;
use super::packet::{Protocol, Segment};

/// The ports that a translator gives, above those that systems choose from
const FIRST_GIVEN: u16 = 61_000;

/// A port of the far host under another number
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The protocol; the number may lead elsewhere for the other
    pub protocol: Protocol,
    /// What the near host dials
    pub outside: u16,
    /// Where the far host listens
    pub inside: u16,
}

/// What became of a packet
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readdressed {
    /// It was rewritten by the map
    pub(super) mapped: bool,
    /// It was rewritten by the translator
    pub(super) rebound: bool,
    /// It leads to a port that the translator no longer knows, and is dropped
    pub(super) unsolicited: bool,
}

/// Both directions of it
#[derive(Debug, Default)]
pub(super) struct Translation {
    /// Whether any packet is to be looked at
    active: AtomicBool,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    mappings: Vec<Mapping>,
    /// The outside port by which a port of the near host came to an inside one
    ways: HashMap<(Protocol, u16, u16), u16>,
    translated: Vec<Protocol>,
    /// The port given to a port of the near host, and the reverse
    given: HashMap<(Protocol, u16), u16>,
    owners: HashMap<(Protocol, u16), u16>,
    next: u16,
}

impl Translation {
    /// Replaces the whole map at once
    pub(super) fn map(&self, mappings: &[Mapping]) {
        self.lock().mappings = mappings.to_vec();
        self.active.store(true, Ordering::Release);
    }

    /// Forgets what ports were given to flows of a protocol, and gives new ones
    pub(super) fn rebind(&self, protocol: Protocol) {
        let mut tables = self.lock();
        if !tables.translated.contains(&protocol) {
            tables.translated.push(protocol);
        }
        tables.given.retain(|(other, _), _| *other != protocol);
        tables.owners.retain(|(other, _), _| *other != protocol);
        drop(tables);
        self.active.store(true, Ordering::Release);
    }

    /// Whether [`Translation::apply`] may do anything
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Rewrites the ports of a packet
    pub(super) fn apply(&self, packet: &mut [u8], direction: Direction) -> Readdressed {
        match (Segment::of(packet), direction) {
            (None, _) => Readdressed::default(),
            (Some(segment), Direction::Out) => self.lock().go_out(segment),
            (Some(segment), Direction::In) => self.lock().come_in(segment),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn go_out(&mut self, mut segment: Segment<'_>) -> Readdressed {
        let mut done = Readdressed::default();
        let protocol = segment.protocol;
        if self.translated.contains(&protocol) {
            segment.set_source_port(self.port_given(protocol, segment.source_port()));
            done.rebound = true;
        }
        let outside = segment.destination_port();
        let leads = |mapping: &&Mapping| (mapping.protocol, mapping.outside) == (protocol, outside);
        if let Some(mapping) = self.mappings.iter().find(leads) {
            self.ways.insert((protocol, segment.source_port(), mapping.inside), outside);
            segment.set_destination_port(mapping.inside);
            done.mapped = true;
        }
        done
    }

    fn come_in(&mut self, mut segment: Segment<'_>) -> Readdressed {
        let mut done = Readdressed::default();
        let (protocol, near) = (segment.protocol, segment.destination_port());
        if let Some(outside) = self.ways.get(&(protocol, near, segment.source_port())) {
            segment.set_source_port(*outside);
            done.mapped = true;
        }
        if self.translated.contains(&protocol) {
            match self.owners.get(&(protocol, near)) {
                Some(owner) => {
                    segment.set_destination_port(*owner);
                    done.rebound = true;
                }
                None => done.unsolicited = true,
            }
        }
        done
    }

    fn port_given(&mut self, protocol: Protocol, owner: u16) -> u16 {
        if let Some(port) = self.given.get(&(protocol, owner)) {
            return *port;
        }
        self.next =
            self.next.checked_add(1).filter(|next| *next > FIRST_GIVEN).unwrap_or(FIRST_GIVEN);
        self.given.insert((protocol, owner), self.next);
        self.owners.insert((protocol, self.next), owner);
        self.next
    }
}
