//! Full, silent, dying and foreign hosts

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use xfer_core::transport::ssh::{ReachProblem, SshError, SshErrorClass};
use xfer_tests::sshd::Sshd;

use crate::{connect, echo, options};

/// A configuration that leads `name` to another port; what is known about the host stays
fn via(server: &Sshd, port: u16, extra: &str) -> PathBuf {
    let alias = format!("[127.0.0.1]:{}", server.port());
    let text = format!(
        "Host here\n  Port {port}\n  HostKeyAlias {alias}\n{extra}\n{}",
        server.client_config_text("here")
    );
    let path = server.directory().join(format!("ssh_config.via.{port}"));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_host_is_asked_again_until_there_is_room() {
    let server = Sshd::start("MaxStartups 1:100:1");
    let idle = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    server.wait_for_log("Connection from", Duration::from_secs(10));
    let mut patient = options(&server.client_config("here"));
    let mut hasty = patient.clone();
    hasty.busy_budget = Duration::ZERO;
    let error = connect(&hasty, "here").await.unwrap_err();
    assert_eq!((error.class(), error.reason()), (SshErrorClass::Network, "host-busy"));
    assert!(
        matches!(&error, SshError::Busy { said, attempts: 1, .. }
            if said == "Exceeded MaxStartups"),
        "{error}"
    );

    patient.busy_budget = Duration::from_secs(60);
    let connecting = tokio::spawn(async move { echo(&patient, "here").await });
    let refusals = || server.log_count("past MaxStartups");
    let before = refusals();
    while refusals() == before {
        tokio::task::yield_now().await;
    }
    drop(idle);
    assert_eq!(connecting.await.unwrap().unwrap(), b"here\n");
}

/// What newer servers say while a penalty runs, and what they say after it
#[tokio::test(flavor = "multi_thread")]
async fn a_penalty_is_waited_out_and_only_one_dial_is_in_flight() {
    let server = Sshd::start("");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (target, (open, most)) =
        (server.port(), (watch::channel(0_usize), watch::channel(0_usize)));
    let (count, peak) = (open.0, most.0);
    tokio::spawn(async move {
        for index in 0_u32.. {
            let (mut inbound, _) = listener.accept().await.unwrap();
            count.send_modify(|open| *open += 1);
            let now = *count.borrow();
            peak.send_modify(|most| *most = now.max(*most));
            if index < 2 {
                inbound.write_all(b"Not allowed at this time\r\n").await.unwrap();
                count.send_modify(|open| *open -= 1);
                continue;
            }
            let mut outbound = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                drop(tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await);
                count.send_modify(|open| *open -= 1);
            });
        }
    });
    let options = options(&via(&server, port, ""));
    let (first, second) = tokio::join!(connect(&options, "here"), connect(&options, "here"));
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    // The second dial begins after the first login is done, so at most one is unauthenticated.
    assert!(*most.1.borrow() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_speak_ssh_is_told_apart() {
    let server = Sshd::start("");
    for (reply, not_ssh) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], true),
        (b"220 mail ready \x1b[2J\r\n", true),
        (b"", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                drop(stream.write_all(reply).await);
            }
        });
        let mut options = options(&via(&server, port, ""));
        options.busy_budget = Duration::ZERO;
        let error = connect(&options, "here").await.unwrap_err();
        assert_eq!(error.class(), SshErrorClass::Network);
        match error {
            SshError::Unreachable { problem: ReachProblem::NotSsh(said), .. } if not_ssh => {
                assert!(!said.contains('\u{1b}'), "{said}");
            }
            SshError::Busy { .. } if !not_ssh => {}
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_port_and_a_closed_port_end_in_time() {
    let server = Sshd::start("");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = options(&via(&server, port, ""));
    options.connect_timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let error = connect(&options, "here").await.unwrap_err();
    assert!(
        matches!(error, SshError::Unreachable { problem: ReachProblem::TimedOut(_), .. }),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(8));
    drop(listener);
    let error = connect(&options, "here").await.unwrap_err();
    assert!(
        matches!(error, SshError::Unreachable { problem: ReachProblem::Dial(_), .. }),
        "{error}"
    );
    let named = via(&server, port, "Host nowhere\n  HostName nowhere.invalid\n");
    let error = connect(&crate::options(&named), "nowhere").await.unwrap_err();
    assert!(
        matches!(error, SshError::Unreachable { problem: ReachProblem::Name(_), .. }),
        "{error}"
    );
}

/// A relay that forwards until it is told to swallow everything
async fn relay(target: u16) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (silence, silent) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((inbound, _)) = listener.accept().await {
            let outbound = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
            let (near, far) = (inbound.into_split(), outbound.into_split());
            for (mut from, mut to) in [(near.0, far.1), (far.0, near.1)] {
                let mut silent = silent.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    loop {
                        let swallow = async { drop(silent.wait_for(|silent| *silent).await) };
                        let count = tokio::select! {
                            biased;
                            () = swallow => None,
                            read = from.read(&mut buffer) => read.ok(),
                        };
                        match count {
                            None => std::future::pending::<()>().await,
                            Some(0) => return,
                            Some(count) => drop(to.write_all(&buffer[..count]).await),
                        }
                    }
                });
            }
        }
    });
    (port, silence)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_is_noticed_idle_or_busy() {
    let server = Sshd::start("");
    for busy in [false, true] {
        let (port, silence) = relay(server.port()).await;
        let extra = "  ServerAliveInterval 1\n  ServerAliveCountMax 1\n";
        let connection = connect(&options(&via(&server, port, extra)), "here").await.unwrap();
        assert_eq!(connection.config().route.liveness.noticed_within(), Duration::from_secs(2));
        let mut exec = connection.exec("cat > /dev/null").await.unwrap();
        silence.send_replace(true);
        let begun = Instant::now();
        if busy {
            let piece = vec![0; 32 << 10];
            while exec.stream.writer.write_all(&piece).await.is_ok() {}
        }
        let mut nothing = Vec::new();
        drop(exec.stream.reader.read_to_end(&mut nothing).await);
        assert_eq!(exec.wait().await, None);
        assert!(connection.is_closed());
        assert!(begun.elapsed() < Duration::from_secs(12), "busy: {busy}");
        let error = connection.exec("true").await.unwrap_err();
        assert_eq!(error.class(), SshErrorClass::Network, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_patience_ends_within_thirty_seconds() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    assert!(connection.config().route.liveness.noticed_within() <= Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_ends_streams_and_a_restarted_one_is_reached_again() {
    let server = Sshd::start("");
    let config = server.client_config("here");
    let connection = connect(&options(&config), "here").await.unwrap();
    let mut exec = connection.exec("cat").await.unwrap();
    let server = server.restart("");
    let mut text = Vec::new();
    drop(exec.stream.reader.read_to_end(&mut text).await);
    assert_eq!(exec.wait().await, None);
    drop(connection);
    assert_eq!(echo(&options(&config), "here").await.unwrap(), b"here\n");
    drop(server);
}
