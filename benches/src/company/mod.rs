//! A transfer in company: a crowd at its data port that knows nothing but the number, and a flow of
//! TCP with CUBIC on its link
//!
//! Of a crowd a transfer is to notice little, and a flow is to have beside a transfer half of what
//! another flow of its kind would leave it.

mod crowd;
mod flow;
mod greetings;
mod options;
mod verdict;

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{park_timeout, scope};
use std::time::{Duration, Instant};

use xfer_tests::net::{Counts, Direction};

use crate::course::Course;
use crate::direct::Route;
use crate::emulated::{Cell, FIRST_WITHIN, Turn, World};
use crate::{Done, figures};
use crowd::{Approach, CROWD, Crowd, addresses};
use flow::{Flow, pass};
use options::Options;
pub(crate) use options::USAGE;

/// The mapped port of the far host
const PORT: u16 = 7700;

/// The time between two looks at a transfer
const LOOK_EACH: Duration = Duration::from_millis(50);

/// The queue holds a round trip at most
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// Transfers and their crowds; the first of each route is the measure of the others
const SIEGES: [(Route, Crowd); 5] = [
    (Route::Tls, Crowd::Nobody),
    (Route::Tls, Crowd::Silent),
    (Route::Tls, Crowd::Slow),
    (Route::Quic, Crowd::Nobody),
    (Route::Quic, Crowd::Unproven),
];

/// Who joins a flow; what another flow does to it is the measure of the others
const JOINERS: [Joiner; 4] =
    [Joiner::Nobody, Joiner::Flow, Joiner::Xfer(Route::Quic), Joiner::Xfer(Route::Tls)];

/// Who joins a flow that is under way
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joiner {
    Nobody,
    /// Another of its kind
    Flow,
    Xfer(Route),
}

/// One transfer with a crowd at its port
#[derive(Clone, Copy, Debug)]
struct Siege {
    /// Bytes a second from the first payload byte
    rate: f64,
    is_finished: bool,
    /// Connections that came to be, or packets that were sent
    came: u64,
    /// The most bytes of memory that the far side's programs had
    memory: u64,
    /// Packets in the direction of the payload, those of the crowd included
    packets: u64,
}

/// A flow and who joined it: bytes a second while both were moving
#[derive(Clone, Copy, Debug)]
struct Shares {
    flow: f64,
    /// Nothing where nobody joined
    joiner: Option<f64>,
}

/// All of it over one link
#[derive(Clone, Debug)]
struct Round {
    cell: Cell,
    /// Payload bytes a second that datagrams bring over the link without loss
    ceiling: f64,
    sieges: Vec<(Route, Crowd, Vec<Siege>)>,
    shares: Vec<(Joiner, Vec<Shares>)>,
}

struct Race {
    world: World,
    options: Options,
    /// What a crowd says over UDP
    greetings: Vec<Vec<u8>>,
}

/// Races as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    let options = Options::parse(words)?;
    let greetings = greetings::first_packets(CROWD)?;
    let world = World::open(options.seed, options.direction, &options.memory)?;
    let device = world.net.link.device();
    for address in addresses(world.net.link.near()) {
        world.net.near.add_address(address, &device);
    }
    let race = Race { world, options, greetings };
    let (_, placed) = race.turn(race.world.first(), Route::Tls, FIRST_WITHIN)?;
    if !placed.limited.is_finished {
        return Err(String::from("the first byte took too long"));
    }
    let mut rounds: Vec<Round> = Vec::new();
    for cell in race.options.cells() {
        rounds.push(race.round(cell)?);
        let text = verdict::text(&rounds, &race.options);
        let figures = verdict::figures(&rounds, &race.options);
        figures::write(&race.options.output, &text, &figures, &verdict::plot(&rounds))?;
    }
    Ok(())
}

impl Race {
    fn round(&self, cell: Cell) -> Done<Round> {
        let source = self.world.file(cell, self.options.seconds);
        let ceiling = self.world.ceiling(cell)?;
        self.world.set(cell);
        eprintln!("{}: the link carries {:.1} MB/s", cell.name(), ceiling / 1e6);
        let mut sieges = SIEGES.map(|(route, crowd)| (route, crowd, Vec::new()));
        let mut shares = JOINERS.map(|joiner| (joiner, Vec::new()));
        for _ in 0..self.options.rounds {
            for (route, crowd, turns) in &mut sieges {
                let name = format!("xfer-{}, {} at its port", route.name(), crowd.name());
                match self.siege(source.clone(), *route, *crowd) {
                    Ok(siege) => {
                        tell_siege(&name, &siege);
                        turns.push(siege);
                    }
                    Err(text) => eprintln!("{name}: failed: {text}"),
                }
            }
            for (joiner, turns) in &mut shares {
                let name = format!("a flow beside {}", joiner.name());
                match self.share(cell, source.clone(), *joiner) {
                    Ok(both) => {
                        let [flow, other] = [both.flow, both.joiner.unwrap_or(0.0)];
                        eprintln!("{name}: {:.2} MB/s and {:.2} MB/s", flow / 1e6, other / 1e6);
                        turns.push(both);
                    }
                    Err(text) => eprintln!("{name}: failed: {text}"),
                }
            }
        }
        Ok(Round { cell, ceiling, sieges: sieges.into(), shares: shares.into() })
    }

    /// One transfer with a crowd at its port from the first payload byte to the end
    fn siege(&self, source: PathBuf, route: Route, crowd: Crowd) -> Done<Siege> {
        self.wait_until_empty()?;
        let over = AtomicBool::new(false);
        let (turn, came, memory) = scope(|scope| {
            let came = scope.spawn(|| self.gather(crowd, &over));
            let memory = scope.spawn(|| self.peak_memory(&over));
            let turn = self.turn(source, route, self.options.limit());
            over.store(true, Ordering::Release);
            (turn, came.join(), memory.join())
        });
        let panicked = |_| String::from("a thread panicked");
        let (came, memory) = (came.map_err(panicked)??, memory.map_err(panicked)?);
        let (_, turn) = turn?;
        let (bytes, moving) = turn.payload().ok_or("no payload moved")?;
        let is_finished = turn.limited.is_finished;
        let rate = bytes as f64 / moving.max(1e-3);
        Ok(Siege { rate, is_finished, came, memory, packets: turn.counts.packets })
    }

    /// A flow, and somebody who joins it with a file
    fn share(&self, cell: Cell, source: PathBuf, joiner: Joiner) -> Done<Shares> {
        self.wait_until_empty()?;
        let (net, way, limit) = (&self.world.net, self.world.way(), self.options.limit());
        let flow = Flow::start(net, way, None)?;
        flow.wait(self.options.lead())?;
        let (from, to, rate) = match joiner {
            Joiner::Nobody => {
                let from = Instant::now();
                pass(Duration::from_secs(self.options.seconds));
                (from, Instant::now(), None)
            }
            Joiner::Flow => {
                let other = Flow::start(net, way, Some(cell.bytes(self.options.seconds)))?;
                other.wait_end(limit);
                let samples = other.end()?;
                let (from, to) = samples.span().ok_or("nothing of the other flow arrived")?;
                (from, to, Some(samples.rate(from, to)))
            }
            Joiner::Xfer(route) => {
                let (began, turn) = self.turn(source, route, limit)?;
                let course = turn.course.ok_or("no payload moved")?;
                let (bytes, moving) = turn.payload().ok_or("no payload moved")?;
                let from = began + Duration::from_secs_f64(course.before);
                let to = from + Duration::from_secs_f64(moving);
                (from, to, Some(bytes as f64 / moving.max(1e-3)))
            }
        };
        let flow = flow.end()?.rate(from, to);
        Ok(Shares { flow, joiner: rate })
    }

    /// One transfer by a program that has learnt nothing, and when it was started
    fn turn(&self, source: PathBuf, route: Route, limit: Duration) -> Done<(Instant, Turn)> {
        let home = self.world.home();
        let host = self.world.lab.address().to_string();
        let mut began = Instant::now();
        let turn = self.world.turn(source, limit, |wanted, events| {
            let mut arguments = wanted.xfer();
            arguments.splice(1..1, route.flags(&host, PORT));
            arguments.extend([OsString::from("--events"), events.into()]);
            began = Instant::now();
            home.command(arguments)
        })?;
        Ok((began, turn))
    }

    /// Brings a crowd to the port once payload moves; how many came
    fn gather(&self, crowd: Crowd, over: &AtomicBool) -> Done<u64> {
        let events = self.world.events();
        while Course::read(&events).is_none() {
            if over.load(Ordering::Acquire) {
                return Ok(0);
            }
            // To wake early does no harm.
            park_timeout(LOOK_EACH);
        }
        let link = &self.world.net.link;
        let to = SocketAddrV4::new(link.far(), PORT);
        let approach = Approach { from: addresses(link.near()), to };
        self.world.net.near.within(|| crowd.gather(&approach, &self.greetings, over))
    }

    /// The most memory that the far side's programs had until it was over, in bytes
    fn peak_memory(&self, over: &AtomicBool) -> u64 {
        let mut peak = 0;
        while !over.load(Ordering::Acquire) {
            // What a program had is known only while it is there.
            peak = peak.max(self.world.lab.peak_memory());
            park_timeout(LOOK_EACH);
        }
        peak
    }

    /// What the last turn left under way is none of the next
    fn wait_until_empty(&self) -> Done {
        let is_empty = |counts: &Counts| counts.under_way() == 0;
        let link = &self.world.net.link;
        let mut both = [Direction::Out, Direction::In].into_iter();
        match both.all(|direction| link.wait_for(direction, is_empty, EMPTY_WITHIN)) {
            true => Ok(()),
            false => Err(String::from("the link does not become empty")),
        }
    }
}

impl Joiner {
    fn name(self) -> String {
        match self {
            Self::Nobody => String::from("nobody"),
            Self::Flow => String::from("another flow"),
            Self::Xfer(route) => format!("xfer-{}", route.name()),
        }
    }
}

fn tell_siege(name: &str, siege: &Siege) {
    let Siege { rate, is_finished, came, memory, packets } = *siege;
    eprintln!(
        "{name}: {:.2} MB/s{}; {came} came, {packets} packets, {:.1} MB of memory there",
        rate / 1e6,
        if is_finished { "" } else { " (cut off)" },
        memory as f64 / 1e6
    );
}
