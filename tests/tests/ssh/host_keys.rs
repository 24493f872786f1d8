//! Known, unknown, changed and revoked hosts

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use xfer_core::transport::ssh::{
    HostKeyAnswer, HostKeyProblem, HostKeyQuestion, HostKeyTrust, Passphrase, PassphraseQuestion,
    Prompt, SshError, SshErrorClass,
};
use xfer_tests::sshd::{Sshd, fingerprint, keygen, public_key};

use crate::{connect, options};

/// Writes a configuration that differs from the fixture's in the host key keywords only
fn config(server: &Sshd, known_hosts: &Path, checking: &str) -> PathBuf {
    let text = format!(
        "UserKnownHostsFile {}\nStrictHostKeyChecking {checking}\n{}",
        known_hosts.display(),
        server.client_config_text("here"),
    );
    let path = server.directory().join("ssh_config.host_keys");
    fs::write(&path, text).unwrap();
    path
}

fn problem(error: SshError) -> HostKeyProblem {
    assert_eq!(error.class(), SshErrorClass::Authentication, "{error}");
    match error {
        SshError::HostKey { problem, .. } => *problem,
        other => panic!("not about the host key: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_refused_where_nobody_can_be_asked() {
    let server = Sshd::start("");
    for checking in ["yes", "ask"] {
        let config = config(&server, &server.directory().join("none"), checking);
        let error = connect(&options(&config), "here").await.unwrap_err();
        let text = error.to_string();
        let HostKeyProblem::Unknown { algorithm, fingerprint } = problem(error) else {
            panic!("{text}")
        };
        assert_eq!(fingerprint, server.host_key_fingerprint());
        assert_eq!(algorithm, "ssh-ed25519");
        assert!(text.contains(&fingerprint));
    }
    assert_eq!(server.log_count("Accepted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_new_adds_the_host_in_a_form_that_ssh_finds() {
    let server = Sshd::start("");
    for hash in ["no", "yes"] {
        let known = server.directory().join(format!("new/{hash}"));
        let config = config(&server, &known, "accept-new");
        let mut options = options(&config);
        options.options.push(format!("HashKnownHosts={hash}"));
        let connection = connect(&options, "here").await.unwrap();
        assert_eq!(connection.host_key_trust(), HostKeyTrust::AcceptedNew);
        let again = connect(&options, "here").await.unwrap();
        assert_eq!(again.host_key_trust(), HostKeyTrust::Known);
        let text = fs::read_to_string(&known).unwrap();
        assert_eq!((text.lines().count(), text.starts_with("|1|")), (1, hash == "yes"));
        let found = std::process::Command::new("ssh-keygen")
            .args(["-F", &format!("[127.0.0.1]:{}", server.port()), "-f"])
            .arg(&known)
            .output()
            .unwrap();
        assert!(found.status.success(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_is_refused_with_both_fingerprints() {
    let server = Sshd::start("");
    let other = server.directory().join("other");
    keygen(&other, "ed25519");
    let known = server.directory().join("stale");
    let line =
        format!("[127.0.0.1]:{} {}\n", server.port(), public_key(&other.with_extension("pub")));
    fs::write(&known, format!("# a comment\n{line}")).unwrap();
    for checking in ["yes", "ask", "accept-new"] {
        let error =
            connect(&options(&config(&server, &known, checking)), "here").await.unwrap_err();
        let text = error.to_string();
        let HostKeyProblem::Changed { fingerprint: shown, expected, line, path, .. } =
            problem(error)
        else {
            panic!("{text}")
        };
        assert_eq!(shown, server.host_key_fingerprint());
        assert_eq!(expected, fingerprint(&other.with_extension("pub")));
        assert_eq!((line, path), (2, known.clone()));
        assert!(text.contains(&shown) && text.contains(&expected), "{text}");
    }
    assert_eq!(server.log_count("Accepted"), 0);
    let connection = connect(&options(&config(&server, &known, "no")), "here").await.unwrap();
    assert_eq!(connection.host_key_trust(), HostKeyTrust::Changed);
    assert_eq!(fs::read_to_string(&known).unwrap().lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_kind_of_key_is_asked_for_first() {
    let server = Sshd::start("");
    let rsa = server.directory().join("rsa");
    keygen(&rsa, "rsa");
    let ecdsa = server.directory().join("ecdsa");
    keygen(&ecdsa, "ecdsa");
    let extra = format!("HostKey {}\nHostKey {}", rsa.display(), ecdsa.display());
    let server = server.restart(&extra);
    for kind in ["rsa", "ecdsa"] {
        let known = server.directory().join(format!("known.{kind}"));
        let key = public_key(&server.directory().join(format!("{kind}.pub")));
        fs::write(&known, format!("[127.0.0.1]:{} {key}\n", server.port())).unwrap();
        let connection = connect(&options(&config(&server, &known, "yes")), "here").await.unwrap();
        assert_eq!(connection.host_key_trust(), HostKeyTrust::Known, "{kind}");
    }
}

/// Rows: B-P4.
#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_line_counts_as_it_does_in_ssh() {
    let server = Sshd::start("");
    let port = server.port();
    let key = server.host_key();
    let known = server.directory().join("forms");
    let unknown = ["127.0.0.2 KEY", "[127.0.0.1]:1 KEY", "127.0.0.1:PORT KEY", "x KEY"];
    let accepted = [
        "[127.0.0.1]:PORT KEY",
        "  \t[127.0.0.1]:PORT\tKEY a comment",
        "a,[127.0.0.1]:PORT,b KEY",
        "[127.0.0.*]:PORT KEY",
        "[127.0.0.?]:* KEY",
        "127.0.0.1 KEY",
        "*,!other KEY",
    ];
    let refused = ["*,![127.0.0.1]:PORT,!127.0.0.1 KEY", "@unknown-marker [127.0.0.1]:PORT KEY"];
    let malformed =
        ["[127.0.0.1]:PORT ssh-ed25519 AAAA", "[127.0.0.1]:PORT", "[127.0.0.1]:PORT ssh-rsa"];
    let cases = accepted
        .iter()
        .map(|line| (*line, true))
        .chain(unknown.iter().chain(&refused).chain(&malformed).map(|line| (*line, false)));
    for (line, expected) in cases {
        let line = line.replace("PORT", &port.to_string()).replace("KEY", &key);
        fs::write(&known, format!("\n# none\nnot a line\n{line}\n")).unwrap();
        let outcome = connect(&options(&config(&server, &known, "yes")), "here").await;
        assert_eq!(outcome.is_ok(), expected, "{line}");
        let config = config(&server, &known, "yes");
        let judged = std::process::Command::new("ssh")
            .arg("-F")
            .arg(config)
            .args(["here", "true"])
            .output()
            .unwrap();
        assert_eq!(judged.status.success(), expected, "ssh disagrees about {line}");
    }
}

/// A million lines are read as they come, and the last of them counts
///
/// Rows: B-P4.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_of_hosts_is_searched_to_its_end() {
    let server = Sshd::start("");
    let known = server.directory().join("many");
    let key = server.host_key();
    let mut text = String::with_capacity(110 << 20);
    for n in 0..1_000_000 {
        text.push_str(&format!("h{n}.example {key}\n"));
    }
    let line = format!("[127.0.0.1]:{} {key}\n", server.port());
    fs::write(&known, text + &line).unwrap();
    assert!(connect(&options(&config(&server, &known, "yes")), "here").await.is_ok());
}

/// Rows: B-P4.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_whatever_else_is_said() {
    let server = Sshd::start("");
    let known = server.directory().join("revoked");
    let (port, key) = (server.port(), server.host_key());
    fs::write(&known, format!("[127.0.0.1]:{port} {key}\n@revoked * {key}\n")).unwrap();
    for checking in ["yes", "no"] {
        let error =
            connect(&options(&config(&server, &known, checking)), "here").await.unwrap_err();
        assert!(matches!(problem(error), HostKeyProblem::Revoked { line: 2, .. }));
    }
}

/// Rows: B-P4.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_authority_alone_is_named_as_the_reason() {
    let server = Sshd::start("");
    let authority = server.directory().join("authority");
    keygen(&authority, "ed25519");
    let known = server.directory().join("authorities");
    let key = public_key(&authority.with_extension("pub"));
    fs::write(&known, format!("@cert-authority * {key}\n")).unwrap();
    let error = connect(&options(&config(&server, &known, "yes")), "here").await.unwrap_err();
    assert!(matches!(problem(error), HostKeyProblem::NeedsCertificate { line: 1, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_stands_in_for_the_name() {
    let server = Sshd::start("");
    let known = server.directory().join("alias");
    fs::write(&known, format!("lab {}\n", server.host_key())).unwrap();
    let mut options = options(&config(&server, &known, "yes"));
    options.options.push("HostKeyAlias=lab".to_owned());
    let connection = connect(&options, "here").await.unwrap();
    assert_eq!(connection.host_key_trust(), HostKeyTrust::Known);
}

/// Answers as told and keeps the questions
#[derive(Debug)]
struct Scripted {
    answer: HostKeyAnswer,
    questions: Mutex<Vec<HostKeyQuestion>>,
}

impl Prompt for Scripted {
    fn accept_host_key(&self, question: &HostKeyQuestion) -> HostKeyAnswer {
        self.questions.lock().unwrap().push(question.clone());
        self.answer
    }

    fn passphrase(&self, _: &PassphraseQuestion<'_>) -> Option<Passphrase> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_once_about_an_unknown_host() {
    let server = Sshd::start("");
    let known = server.directory().join("asked");
    let config = config(&server, &known, "ask");
    for (answer, accepted) in [(HostKeyAnswer::Decline, false), (HostKeyAnswer::Accept, true)] {
        let prompt = Arc::new(Scripted { answer, questions: Mutex::default() });
        let mut options = options(&config);
        options.interactive = Arc::<Scripted>::clone(&prompt);
        let outcome = connect(&options, "here").await;
        match (outcome, accepted) {
            (Ok(connection), true) => {
                assert_eq!(connection.host_key_trust(), HostKeyTrust::AcceptedByPerson);
                let again = connect(&options, "here").await.unwrap();
                assert_eq!(again.host_key_trust(), HostKeyTrust::Known);
            }
            (Err(error), false) => {
                assert!(matches!(problem(error), HostKeyProblem::Declined { .. }));
                assert!(!known.exists());
            }
            (outcome, _) => panic!("{outcome:?}"),
        }
        let questions = prompt.questions.lock().unwrap();
        assert_eq!(questions.len(), 1);
        assert_eq!(questions[0].fingerprint, server.host_key_fingerprint());
        assert_eq!(questions[0].host, format!("[127.0.0.1]:{}", server.port()));
    }
}
