//! A model of the whole gate, explored exhaustively
//!
//! A machine with two files, a destination, a platform, a controller that may be killed between any
//! two steps, and whoever writes, renames, recycles, reboots, corrupts and turns time meanwhile.
//! The decisions are those of the program: `fold`, `evaluate`, [`Token::check`] and [`next`]; the
//! model has only the world and the order of steps.
//!
//! What is asserted of each request that the platform is sent: at the quick look before it, every
//! file on the machine was, byte for byte, what the destination was read back to hold, and the
//! container was the one that was collected. So what a destruction can take and nobody has is what
//! was written after that look, in the same breath, or what the destination lost after it was read
//! back. And a token is spent once.

mod collecting;

use std::collections::{HashMap, HashSet, VecDeque};

use super::samples::digest;
use crate::gate::destroy::{Asked, Outcome, Record, Shown, Situation, Step, next};
use crate::gate::token::{Seen, Times, Token};
use crate::trust::PublicKey;
use collecting::{Collected, identity, moment};

/// Nothing there
const ABSENT: u8 = 0;
/// Contents that a file may have: 1 to this
const CONTENTS: u8 = 2;
/// What a destination holds when it was damaged
const BAD: u8 = 9;

/// Of the machine
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Machine {
    /// Content and stamp of each file
    files: [(u8, u8); 2],
    /// Whether the first file is mapped writable, and whether its pages are dirty: then writing
    /// leaves no stamp
    mapped: bool,
    dirty: bool,
    generation: u8,
    boot: u8,
    stamps: u8,
}

/// What a token is bound to, and for the judge what was collected
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Issued {
    machine: (u8, u8),
    stamps: [u8; 2],
    time: u8,
    read_back: [u8; 2],
}

/// What was on the machine at the quick look, and which container and boot it was
type Looked = ([u8; 2], (u8, u8));

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Platform {
    There,
    /// It took the order, and will carry it out
    Going,
    Gone,
}

/// Where the one controller is; all of it is lost when that is killed
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Idle,
    Collecting(u8, Collected),
    /// It holds the token, and what it asked in this process
    Destroying(Asked),
    /// It has looked, saw this, and is about to do that
    About(Asked, Step, Looked),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct World {
    machine: Machine,
    destination: [u8; 2],
    /// What the receipt says, and of which container and boot
    receipt: Option<([u8; 2], (u8, u8))>,
    platform: Platform,
    time: u8,
    record: Record,
    token: Option<Issued>,
    spent: u8,
    phase: Phase,
    /// Events that may still happen to it
    left: u8,
}

impl Machine {
    fn contents(&self) -> [u8; 2] {
        self.files.map(|(content, _)| content)
    }

    fn stamps(&self) -> [u8; 2] {
        self.files.map(|(content, stamp)| if content == ABSENT { 0 } else { stamp })
    }

    fn who(&self) -> (u8, u8) {
        (self.generation, self.boot)
    }

    fn set(&mut self, file: usize, content: u8) {
        self.stamps += 1;
        self.files[file] = (content, self.stamps);
    }
}

/// What may happen to the world without the controller, each spending one event
fn happenings(world: &World, found: &mut Vec<World>) {
    let Some(left) = world.left.checked_sub(1) else { return };
    let world = World { left, ..*world };
    let mut changed = |change: &dyn Fn(&mut World)| {
        let mut world = world;
        change(&mut world);
        found.push(world);
    };
    if world.platform != Platform::Gone {
        let machine = world.machine;
        for (file, (content, _)) in machine.files.into_iter().enumerate() {
            changed(&|w| w.machine.set(file, content % CONTENTS + 1));
            if content != ABSENT {
                changed(&|w| w.machine.set(file, ABSENT));
            }
        }
        if machine.files[0].0 != ABSENT {
            // Renaming keeps content and changes both stamps.
            changed(&|w| {
                w.machine.set(1, machine.files[0].0);
                w.machine.set(0, ABSENT);
                (w.machine.mapped, w.machine.dirty) = (false, false);
            });
            changed(&|w| (w.machine.mapped, w.machine.dirty) = (!machine.mapped, false));
        }
        if machine.mapped && machine.files[0].0 != ABSENT {
            changed(&|w| {
                let content = machine.files[0].0 % CONTENTS + 1;
                if machine.dirty {
                    w.machine.files[0].0 = content;
                } else {
                    w.machine.set(0, content);
                    w.machine.dirty = true;
                }
            });
        }
        changed(&|w| {
            w.machine.boot += 1;
            (w.machine.mapped, w.machine.dirty) = (false, false);
        });
        // The container's files are gone, under the same instance id.
        changed(&|w| {
            let stamps = machine.stamps;
            let generation = machine.generation + 1;
            w.machine = Machine { stamps, generation, boot: machine.boot, ..Machine::default() };
        });
    }
    for file in 0..2 {
        changed(&|w| w.destination[file] = BAD);
    }
    changed(&|w| w.time += 1);
    if world.phase != Phase::Idle {
        changed(&|w| w.phase = Phase::Idle);
    }
}

/// What the controller, and a platform with an order, do next
fn steps(world: &World, judge: &mut Judge, found: &mut Vec<World>) {
    let phase = |phase| World { phase, ..*world };
    if world.platform == Platform::Going {
        found.push(World { platform: Platform::Gone, ..*world });
    }
    let reachable = world.platform != Platform::Gone;
    match world.phase {
        Phase::Idle => {
            if reachable && let Some(left) = world.left.checked_sub(1) {
                let contents = world.machine.contents();
                let receipt = Some((contents, world.machine.who()));
                found.push(World { left, destination: contents, receipt, ..*world });
                found.push(phase(Phase::Collecting(0, Collected::begin(world))));
            }
            if world.token.is_some() {
                found.push(phase(Phase::Destroying(Asked::No)));
            }
        }
        Phase::Collecting(_, _) if !reachable => found.push(phase(Phase::Idle)),
        Phase::Collecting(step, mut collected) => {
            if step < collecting::STEPS {
                let mut world = World { phase: Phase::Idle, ..*world };
                if step == collecting::HASHES_FIRST && judge.syncs {
                    world.machine.dirty = false;
                }
                collected.take(step, &world);
                found.push(World { phase: Phase::Collecting(step + 1, collected), ..world });
            } else if judge.releases(&collected, world.time) {
                let token = Some(collected.issued());
                let (record, spent) = (Record::Unspent, 0);
                found.push(World { token, record, spent, ..phase(Phase::Idle) });
            } else {
                found.push(phase(Phase::Idle));
            }
        }
        Phase::Destroying(asked) => looks(world, asked, found),
        Phase::About(asked, step, looked) => act(world, asked, step, looked, judge, found),
    }
}

/// One look at everything, and the decision that follows
fn looks(world: &World, asked: Asked, found: &mut Vec<World>) {
    let truth = if world.platform == Platform::Gone { Shown::Gone } else { Shown::Present };
    let fits = match world.token {
        Some(issued) if truth == Shown::Present => {
            let times = |time| Times { here: moment(time), platform: None };
            let machine = "vast:1".to_owned();
            let seen = Seen {
                machine,
                identity: identity(world.machine.who()),
                stamps: collecting::digest_of(world.machine.stamps()),
            };
            issued.token().check(&seen, &times(world.time))
        }
        _ => Err(crate::gate::token::TokenRefusal::OtherContainer),
    };
    for shown in [truth, Shown::Unknown] {
        for may_wait in [true, false] {
            let record = world.record;
            let step = next(&Situation { record, shown, asked, fits, may_wait });
            if may_wait || step != Step::Look {
                let looked = (world.machine.contents(), world.machine.who());
                let phase = Phase::About(asked, step, looked);
                found.push(World { phase, ..*world });
            }
        }
    }
}

impl Issued {
    fn token(&self) -> Token {
        Token {
            key: PublicKey([0; 32]),
            name: [0; 32],
            machine: "vast:1".to_owned(),
            container: identity(self.machine).digest(),
            manifest: digest(0),
            stamps: collecting::digest_of(self.stamps),
            destination: digest(0),
            policy: digest(0),
            issued: Times { here: moment(self.time), platform: None },
            life: collecting::LIFE,
        }
    }
}

fn act(
    world: &World,
    asked: Asked,
    step: Step,
    looked: Looked,
    judge: &mut Judge,
    found: &mut Vec<World>,
) {
    let again = |asked| World { phase: Phase::Destroying(asked), ..*world };
    match step {
        Step::Look => found.push(again(asked)),
        Step::Spend => {
            assert_eq!((world.record, world.spent), (Record::Unspent, 0), "{world:#?}");
            // The rename may be durable before the process knows it.
            let spent = World { record: Record::Spent, spent: 1, ..again(asked) };
            found.push(World { phase: Phase::Idle, ..spent });
            found.push(spent);
        }
        Step::Request => {
            judge.request(world, looked);
            let platform = |platform, asked| World { platform, ..again(asked) };
            found.push(again(Asked::Refused));
            found.push(again(Asked::Unknown));
            // There may be nothing any more that could go.
            if world.platform != Platform::Gone {
                found.push(platform(Platform::Going, Asked::Accepted));
                found.push(platform(Platform::Going, Asked::Unknown));
                found.push(platform(Platform::Gone, Asked::Unknown));
                found.push(World { phase: Phase::Idle, ..platform(Platform::Gone, Asked::No) });
            }
        }
        Step::End(outcome) => {
            if outcome == Outcome::Destroyed {
                assert_eq!((world.platform, world.spent), (Platform::Gone, 1), "{world:#?}");
                judge.destroyed += 1;
            }
            found.push(World { phase: Phase::Idle, ..*world });
        }
    }
}

/// What was decided before, and what was counted
#[derive(Default)]
struct Judge {
    /// Whether files are synced before they are hashed, as the collection says
    syncs: bool,
    wrong: u64,
    verdicts: HashMap<(Collected, u8), bool>,
    requests: u64,
    destroyed: u64,
    written_in_the_breath: u64,
}

impl Judge {
    fn releases(&mut self, collected: &Collected, now: u8) -> bool {
        *self.verdicts.entry((*collected, now)).or_insert_with(|| collected.releases(now))
    }

    /// The platform is sent the request: this must never be wrong
    fn request(&mut self, world: &World, (seen, who): Looked) {
        self.requests += 1;
        let token = world.token.expect("a token");
        assert_eq!((world.record, world.spent), (Record::Spent, 1), "{world:#?}");
        assert_eq!(who, token.machine, "{world:#?}");
        let is_safe = |(content, read_back)| content == ABSENT || content == read_back;
        let is_safe = seen.into_iter().zip(token.read_back).all(is_safe);
        assert!(is_safe || !self.syncs, "{world:#?}");
        self.wrong += u64::from(!is_safe);
        self.written_in_the_breath += u64::from(seen != world.machine.contents());
    }
}

/// Explores everything that so many events can lead to; how many states there are
fn explore(events: u8, syncs: bool) -> (usize, Judge) {
    let mut machine = Machine::default();
    machine.set(0, 1);
    machine.set(1, 1);
    let first = World {
        machine,
        destination: [ABSENT; 2],
        receipt: None,
        platform: Platform::There,
        time: 0,
        record: Record::Absent,
        token: None,
        spent: 0,
        phase: Phase::Idle,
        left: events,
    };
    let (mut judge, mut seen) = (Judge { syncs, ..Judge::default() }, HashSet::from([first]));
    let (mut waiting, mut found) = (VecDeque::from([first]), Vec::new());
    while judge.wrong == 0
        && let Some(world) = waiting.pop_front()
    {
        happenings(&world, &mut found);
        steps(&world, &mut judge, &mut found);
        for world in found.drain(..) {
            if seen.insert(world) {
                waiting.push_back(world);
            }
        }
    }
    (seen.len(), judge)
}

/// More in a release build, where the million takes seconds
#[test]
fn no_request_takes_what_nobody_has() {
    let (events, least) = if cfg!(debug_assertions) { (3, 30_000) } else { (5, 1_000_000) };
    let (states, judge) = explore(events, true);
    let Judge { requests, destroyed, written_in_the_breath, .. } = judge;
    println!(
        "{states} states, {requests} requests, {destroyed} ends, {written_in_the_breath} late"
    );
    assert!(states >= least, "only {states} states");
    assert!(requests > 0 && destroyed > 0, "nothing was ever destroyed");
    assert!(written_in_the_breath > 0, "nobody wrote between look and request");
}

/// The model can fail: a collection that says that it synced, and did not, is found out. A mapping
/// is stored to after the hash, leaves no stamp, and is gone before anybody looks for writers.
#[test]
fn hashing_without_a_sync_would_lose_a_store_through_a_mapping() {
    if !cfg!(debug_assertions) {
        let (_, judge) = explore(5, false);
        assert!(judge.wrong > 0, "of {} requests", judge.requests);
    }
}
