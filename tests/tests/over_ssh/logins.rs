//! One login and its channels; further logins where one connection does not carry the streams

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use xfer_tests::relay::Relay;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Xfer};
use xfer_tests::{oracle, tree};

use crate::{Pair, arguments, inside, number, remote};

const LOGIN: &str = "Accepted publickey";

/// Bytes that take some seconds at the limit that the tests set
const LARGE: u64 = 160 << 20;

fn pair(config: &str) -> Pair {
    let pair = Pair::with(config);
    std::fs::create_dir(pair.path("source")).expect("create");
    tree::big_file(&pair.path("source/large"), LARGE, 6);
    pair
}

/// Pushes the source
fn push(pair: &Pair, flags: &[&str]) -> Ended {
    let (source, destination) = (pair.path("source"), pair.path("destination"));
    let locations = [inside(&source), remote(&destination)];
    let ended = pair.xfer.run(arguments("push", flags, &locations)).expect_code(0);
    oracle::assert_equal(&source, &destination);
    ended
}

fn notices(ended: &Ended) -> Vec<String> {
    let events = ended.events();
    events.iter().filter_map(|event| Some(event["notice"].as_str()?.to_owned())).collect()
}

/// Kind and streams of the route
fn route(ended: &Ended) -> (String, u64) {
    let route = &ended.result()["route"];
    (route["kind"].as_str().unwrap_or_default().to_owned(), number(route, "streams"))
}

/// The agent is placed by one channel and started by the next, which the server may still refuse
#[test]
fn a_server_of_few_channels_still_gets_an_agent() {
    for sessions in [1, 2] {
        let pair = Pair::with(&format!("MaxSessions {sessions}"));
        tree::small_files(&pair.path("source"), 10, 6);
        tree::set_modified(&pair.path("source/d0000/f000001"), 1_000_000_000, 123_456_789);
        let ended = push(&pair, &[]);
        assert_eq!(route(&ended), ("ssh".to_owned(), 1), "MaxSessions {sessions}");
        assert_eq!(pair.server.log_count(LOGIN), 1);
    }
}

#[test]
fn further_logins_bring_the_streams_that_one_does_not_carry() {
    let pair = pair("MaxSessions 2\nMaxStartups 1:100:1");
    let ended = push(&pair, &["-j", "3", "--bwlimit", "20MB/s"]);
    assert_eq!(route(&ended), ("ssh".to_owned(), 3));
    assert_eq!(pair.server.log_count(LOGIN), 3);
    assert_eq!(pair.server.log_count("MaxStartups"), 0, "{}", pair.server.log());
    assert_eq!(notices(&ended), [""; 0]);
}

#[test]
fn a_near_host_gets_one_login() {
    let pair = pair("");
    let ended = push(&pair, &["-j", "4", "--bwlimit", "40MB/s"]);
    assert_eq!(route(&ended), ("ssh".to_owned(), 4));
    assert_eq!(pair.server.log_count(LOGIN), 1);
}

/// Unasked, and in both directions
#[test]
fn a_long_link_gets_further_logins() {
    let mut pair = pair("MaxStartups 1:100:1");
    let relay = Relay::late(pair.server.port(), Duration::from_millis(15));
    let config = pair.server.client_config_by_way_of("host", relay.port());
    pair.xfer = Xfer::new().ssh_config(config);
    let [source, there, back] = ["source", "destination", "back"].map(|name| pair.path(name));
    let pull = [inside(remote(&there)), back.clone().into()];
    for run in 1..=2 {
        let ended = match run {
            1 => push(&pair, &["--bwlimit", "20MB/s"]),
            _ => pair.xfer.run(arguments("pull", &["--bwlimit", "20MB/s"], &pull)).expect_code(0),
        };
        // A delay of 30 ms wants three streams, and as many again beside the first login; one that
        // a busy machine makes longer wants more. They are counted at the end, when some may have
        // been given back already.
        let (kind, streams) = route(&ended);
        assert!(kind == "ssh" && (2..=12).contains(&streams), "run {run}: {kind}, {streams}");
        assert_eq!(pair.server.log_count(LOGIN), 4 * run, "run {run}");
        assert_eq!(notices(&ended), [""; 0], "run {run}");
    }
    assert_eq!(pair.server.log_count("MaxStartups"), 0, "{}", pair.server.log());
    oracle::assert_equal(&source, &back);
}

/// Connects and says nothing more, which takes the only place of a server for logins
///
/// The server may still count the login before; then this is refused too, and comes again.
fn take_the_only_place(pair: &Pair) -> TcpStream {
    loop {
        let mut silent = TcpStream::connect(("127.0.0.1", pair.server.port())).expect("connect");
        let mut greeting = [0; 4];
        if silent.read_exact(&mut greeting).is_ok() && greeting == *b"SSH-" {
            return silent;
        }
    }
}

#[test]
fn a_refused_further_login_costs_nothing() {
    let pair = pair("MaxSessions 1\nMaxStartups 1:100:1\nLoginGraceTime 600");
    let (source, destination) = (pair.path("source"), pair.path("destination"));
    let locations = [inside(&source), remote(&destination)];
    let push = arguments("push", &["-j", "3", "--bwlimit", "20MB/s"], &locations);
    let running = pair.xfer.start(push);
    pair.server.wait_for_log(LOGIN, Duration::from_secs(60));
    let silent = take_the_only_place(&pair);
    let refused = pair.server.log_count("MaxStartups");
    let ended = running.wait().expect_code(0);
    assert_eq!(route(&ended), ("ssh".to_owned(), 1));
    assert_eq!(pair.server.log_count(LOGIN), 1);
    assert!(pair.server.log_count("MaxStartups") > refused, "{}", pair.server.log());
    oracle::assert_equal(&source, &destination);
    drop(silent);
}

/// A command that leads there may ask somebody, so it runs once
#[test]
fn a_proxy_command_is_run_once() {
    let mut pair = pair("MaxSessions 1");
    let direct = pair.server.client_config("direct");
    let proxy = format!("  ProxyCommand ssh -F {} -W %h:%p direct\n", direct.display());
    let config = pair.path("ssh_config");
    tree::write(&config, (pair.server.client_config_text("host") + &proxy).as_bytes());
    pair.xfer = Xfer::new().ssh_config(config);
    let ended = push(&pair, &["-j", "2", "--bwlimit", "40MB/s"]);
    assert_eq!(route(&ended), ("ssh".to_owned(), 1));
    assert_eq!(pair.server.log_count(LOGIN), 2);
    let notices = notices(&ended);
    assert!(notices.len() == 1 && notices[0].contains("ProxyCommand"), "{notices:?}");
    assert_eq!(ended.result()["route"]["direct"], false);
}

#[test]
fn a_way_by_another_host_is_not_direct() {
    let gate = Sshd::start("");
    let mut pair = Pair::new();
    tree::small_files(&pair.path("source"), 10, 6);
    assert_eq!(push(&pair, &[]).result()["route"]["direct"], true);
    let config = pair.path("ssh_config");
    let jump = pair.server.client_config_text("host") + "  ProxyJump gate\n";
    tree::write(&config, (jump + &gate.client_config_text("gate")).as_bytes());
    pair.xfer = Xfer::new().ssh_config(config);
    for flags in [&[][..], &["--route", "sftp"]] {
        let locations = [inside(pair.path("source")), remote(&pair.path("destination"))];
        let ended = pair.xfer.run(arguments("push", flags, &locations)).expect_code(0);
        assert_eq!(ended.result()["route"]["direct"], false, "{flags:?}");
        assert_eq!(notices(&ended), [""; 0]);
    }
    assert_eq!(gate.log_count(LOGIN), 2);
}
