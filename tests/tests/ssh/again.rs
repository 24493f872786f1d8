//! Further logins beside a first

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use xfer_core::transport::ssh::{
    HostKeyAnswer, HostKeyProblem, HostKeyQuestion, Passphrase, PassphraseQuestion, Prompt,
    SshError, SshErrorClass,
};
use xfer_tests::sshd::{Sshd, keygen, keygen_with};

use crate::login::{AgentProcess, keyless, with_agent};
use crate::{connect, options};

/// Answers every question, and counts them
#[derive(Debug, Default)]
struct Asked(AtomicU32);

impl Prompt for Asked {
    fn accept_host_key(&self, _: &HostKeyQuestion) -> HostKeyAnswer {
        self.0.fetch_add(1, Ordering::Relaxed);
        HostKeyAnswer::Accept
    }

    fn passphrase(&self, _: &PassphraseQuestion<'_>) -> Option<Passphrase> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Passphrase::new("sesame".to_owned()))
    }
}

fn forget_host_key(config: &Path) {
    let new = config.with_extension("new");
    let text = fs::read_to_string(config).unwrap();
    let lines = text.lines().filter(|line| !line.contains("KnownHostsFile"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text.replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask");
    let nowhere =
        format!("  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n", new.display());
    fs::write(config, format!("{text}\n{nowhere}")).unwrap();
}

/// The host key that a person accepted for the first connection holds for the next, unasked
#[tokio::test(flavor = "multi_thread")]
async fn a_further_login_uses_what_was_taken_and_asks_nobody() {
    let server = Sshd::start("");
    let config = server.client_config("here");
    forget_host_key(&config);
    let asked = Arc::new(Asked::default());
    let mut options = options(&config);
    options.interactive = Arc::clone(&asked) as Arc<dyn Prompt>;
    let first = connect(&options, "here").await.unwrap();
    assert_eq!(asked.0.load(Ordering::Relaxed), 1);
    // Nothing is resolved or looked up once more.
    fs::remove_file(&config).unwrap();
    assert_eq!(first.alone(), None);
    let second = first.again(&options).await.unwrap();
    assert_eq!(second.run("echo again", "", 100).await.unwrap().stdout, b"again\n");
    assert_eq!(asked.0.load(Ordering::Relaxed), 1);
    assert_eq!(server.log_count("Accepted publickey"), 2);
    assert_eq!(server.log_count("Failed"), 0, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_needs_nobody_signs_again() {
    let server = Sshd::start("");
    let agent = AgentProcess::start(server.directory());
    let other = server.directory().join("other");
    keygen(&other, "ed25519");
    agent.add(&other);
    agent.add(&server.user_key());
    let options = options(&with_agent(&server, &agent.socket, ""));
    let first = connect(&options, "here").await.unwrap();
    first.again(&options).await.unwrap();
    assert_eq!(server.log_count("Accepted publickey"), 2);
    // The key that was refused is offered once and not again.
    assert_eq!(server.log_count("Failed publickey"), 1, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_not_asked_for_twice() {
    let server = Sshd::start("");
    let locked = server.directory().join("locked");
    keygen_with(&locked, &["-t", "ed25519", "-N", "sesame"]);
    fs::copy(locked.with_extension("pub"), server.authorized_keys()).unwrap();
    let asked = Arc::new(Asked::default());
    let mut options = options(&keyless(&server));
    options.identities = vec![locked];
    options.interactive = Arc::clone(&asked) as Arc<dyn Prompt>;
    let first = connect(&options, "here").await.unwrap();
    assert!(first.alone().is_some());
    first.again(&options).await.unwrap_err();
    assert_eq!(asked.0.load(Ordering::Relaxed), 1);
    assert_eq!(server.log_count("Accepted publickey"), 1);
}

/// Whatever known_hosts says, and even where no key would be checked
#[tokio::test(flavor = "multi_thread")]
async fn another_host_key_is_refused() {
    let server = Sshd::start("");
    let mut options = options(&server.client_config("here"));
    options.options = vec!["StrictHostKeyChecking=no".to_owned()];
    let first = connect(&options, "here").await.unwrap();
    for name in ["hostkey", "hostkey.pub"] {
        fs::remove_file(server.directory().join(name)).unwrap();
    }
    keygen(&server.directory().join("hostkey"), "ed25519");
    let server = server.restart("");
    drop(server.known_hosts());
    let error = first.again(&options).await.unwrap_err();
    assert_eq!(error.class(), SshErrorClass::Authentication);
    assert!(
        matches!(&error, SshError::HostKey { problem, .. }
            if matches!(**problem, HostKeyProblem::Another { .. })),
        "{error}"
    );
    assert_eq!(server.log_count("Accepted publickey"), 0);
}

/// Connects and says nothing more, which takes the only place of a server for logins
///
/// The server may still count the login before; then this is refused too, and comes again.
async fn take_the_only_place(server: &Sshd) -> TcpStream {
    loop {
        let mut silent = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        let mut greeting = [0; 4];
        if silent.read_exact(&mut greeting).await.is_ok() && greeting == *b"SSH-" {
            return silent;
        }
    }
}

/// While it waits for a full host, others may dial
#[tokio::test(flavor = "multi_thread")]
async fn a_further_login_that_waits_holds_up_nobody() {
    let (full, free) = (Sshd::start("MaxStartups 1:100:1"), Sshd::start(""));
    let config = full.directory().join("both");
    let text = [full.client_config_text("full"), free.client_config_text("free")].concat();
    fs::write(&config, text).unwrap();
    let options = options(&config);
    let first = connect(&options, "full").await.unwrap();
    let silent = take_the_only_place(&full).await;
    let refused = full.log_count("past MaxStartups");
    let waiting = options.clone();
    let second = tokio::spawn(async move { first.again(&waiting).await });
    while full.log_count("past MaxStartups") == refused {
        tokio::task::yield_now().await;
    }
    let connecting = connect(&options, "free");
    tokio::time::timeout(Duration::from_secs(30), connecting).await.unwrap().unwrap();
    assert!(!second.is_finished());
    drop(silent);
    second.await.unwrap().unwrap();
}
