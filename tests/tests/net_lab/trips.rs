//! What a long link costs in round trips, which is what many small files take there

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xfer_tests::net::{Direction, Lab, Weather};
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Running, Xfer, elsewhere};

const ROUND_TRIP: Duration = Duration::from_millis(250);

const FILES: usize = 2000;

const FILE_BYTES: usize = 4096;

/// More than a login and all its commands send, and not much more
const BEYOND_COMMANDS: u64 = 20 << 10;

/// What sshd says as it lets somebody in
const LET_IN: &str = "Accepted publickey";

/// What that takes to arrive
const ON_ITS_WAY: f64 = 0.5;

/// Far beyond what anything here takes
const SOON: Duration = Duration::from_secs(60);

/// Round trips' time that both machines may take to do what was asked: starting shells, hashing the
/// agent, reading and syncing files
const SLACK: f64 = 2.0;

const ATTEMPTS: usize = 5;

fn round_trips(time: Duration) -> f64 {
    time.as_secs_f64() / ROUND_TRIP.as_secs_f64()
}

/// How long the same bytes take from their first to their last where nothing is asked, on a new
/// connection of TCP whose sender knows as little of the link as that of a login does
fn transfer_time(lab: &Lab) -> Duration {
    let listener = lab.far.within(|| TcpListener::bind((lab.link.far(), 0))).expect("listen");
    let address = listener.local_addr().expect("an address");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut socket, _) = listener.accept().expect("accept");
            std::io::copy(&mut socket, &mut std::io::sink()).expect("read");
            socket.write_all(&[1]).expect("answer");
        });
        let mut socket = lab.near.within(|| TcpStream::connect(address)).expect("connect");
        let began = Instant::now();
        socket.write_all(&vec![7; FILES * FILE_BYTES]).expect("write");
        socket.shutdown(std::net::Shutdown::Write).expect("shut down");
        socket.read_exact(&mut [0]).expect("an answer");
        began.elapsed().saturating_sub(ROUND_TRIP)
    })
}

/// Whether a process shows a path to everybody on its machine, as it is or in hexadecimal
fn is_shown(path: &Path) -> bool {
    let plain = path.as_os_str().as_encoded_bytes();
    let hexadecimal: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
    let processes = std::fs::read_dir("/proc").expect("list").filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    // The program that was told to push there shows it here.
    let agents = lines.filter(|line| line.windows(7).any(|words| words == b"\0agent\0"));
    let holds = |line: &[u8], what: &[u8]| line.windows(what.len()).any(|window| window == what);
    let mut agents = agents.peekable();
    assert!(agents.peek().is_some(), "no agent runs");
    agents.into_iter().any(|line| holds(&line, plain) || holds(&line, hexadecimal.as_bytes()))
}

/// What is wanted is the first payload within 4 round trips from the login, and all within 8 beside
/// the time of the bytes. This holds it to that and the slack.
#[test]
fn small_files_take_few_round_trips() {
    let lab = Lab::new(&Weather::default().megabits(1000));
    let server = Sshd::start_within(&lab.far, lab.link.far(), "");
    let name = lab.link.far().to_string();
    let xfer = Xfer::new().ssh_config(server.client_config(&name));
    let place = TempDir::new().expect("temp dir");
    let tree = place.path().join("tree");
    for n in 0..FILES {
        let directory = tree.join((n / 200).to_string());
        std::fs::create_dir_all(&directory).expect("create");
        std::fs::write(directory.join(n.to_string()), [7; FILE_BYTES]).expect("write");
    }
    let push = |to: &Path| {
        let remote = format!("{name}:{}", to.display());
        // On one machine, what could lie in itself is looked at first.
        let push = xfer.command(["push", "--json", tree.to_str().expect("UTF-8"), &remote]);
        lab.near.within(|| Running::start(elsewhere(&push)))
    };
    // The agent is there from now on.
    push(&place.path().join("near")).wait().expect_code(0);

    lab.link.change_both(|weather| weather.delay = ROUND_TRIP / 2);
    // A machine that has other work is late, and never early.
    let is_soon = (0..ATTEMPTS).any(|attempt| {
        let bytes = round_trips(transfer_time(&lab));
        let before = lab.link.counts(Direction::Out).bytes;
        let (began, logins) = (Instant::now(), server.log_count(LET_IN));
        let far = place.path().join(format!("far{attempt}"));
        let running = push(&far);
        server.wait_for_log_once_more(LET_IN, logins, SOON);
        let let_in = Instant::now();
        let commands = before + BEYOND_COMMANDS;
        assert!(lab.link.wait_for(Direction::Out, |counts| counts.bytes > commands, SOON));
        let payload = round_trips(let_in.elapsed()) - ON_ITS_WAY;
        assert!(!is_shown(&far), "the agent's command line tells where it writes");
        running.wait().expect_code(0);
        let all = round_trips(let_in.elapsed()) - ON_ITS_WAY;
        let login = round_trips(let_in - began) + ON_ITS_WAY;
        println!("{login:.1} round trips to the login; from there {payload:.1} to payload, and");
        println!("{all:.1} to the end, of which the bytes by themselves take {bytes:.1}");
        payload < 4.0 + SLACK && all < 8.0 + bytes + SLACK
    });
    assert!(is_soon, "never in {ATTEMPTS} attempts");
}
