//! Keys, agents and refusals

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use xfer_core::transport::ssh::{
    HostKeyAnswer, HostKeyQuestion, KeyOrigin, KeyProblem, LoginRefused, Passphrase,
    PassphraseQuestion, Prompt, SshError, SshErrorClass,
};
use xfer_tests::sshd::{Sshd, fingerprint, keygen, keygen_with, public_key};

use crate::{connect, echo, options};

/// A configuration without a key of its own
pub(crate) fn keyless(server: &Sshd) -> PathBuf {
    let text = server.client_config_text("here");
    let lines = text.lines().filter(|line| !line.contains("Identit"));
    let path = server.directory().join("ssh_config.keyless");
    let text: Vec<&str> = lines.collect();
    fs::write(&path, format!("{}\n  IdentityAgent none\n  IdentityFile none\n", text.join("\n")))
        .unwrap();
    path
}

fn refusal(error: SshError) -> LoginRefused {
    assert_eq!(error.class(), SshErrorClass::Authentication, "{error}");
    match error {
        SshError::LoginRefused(refused) => *refused,
        other => panic!("not a refused login: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_says_which_keys_were_offered_and_what_to_do() {
    let server = Sshd::start("");
    let other = server.directory().join("other");
    keygen(&other, "ed25519");
    let mut options = options(&keyless(&server));
    options.identities = vec![other.clone()];
    let begun = Instant::now();
    let error = connect(&options, "here").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(25));
    let expected = format!(
        "login refused: root@127.0.0.1:{port} accepts none of your keys. There is no password.\n  \
         offered   {fingerprint}  {key}\n  \
         do one of 1  repeat with -i PATH_OF_A_LISTED_KEY\n            \
         2  add yours there: ssh-copy-id -i '{key}' -p {port} root@127.0.0.1",
        port = server.port(),
        fingerprint = fingerprint(&other.with_extension("pub")),
        key = other.display(),
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.reason(), "key-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_at_all_is_a_refusal_too() {
    let server = Sshd::start("");
    let refused = refusal(connect(&options(&keyless(&server)), "here").await.unwrap_err());
    assert_eq!(refused.methods, ["publickey"]);
    assert!(refused.to_string().contains("there is none to offer"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_supported_kind_of_key_logs_in() {
    let server = Sshd::start("");
    let key = |name: &str| server.directory().join(name);
    keygen_with(&key("rsa"), &["-t", "rsa", "-b", "3072", "-N", ""]);
    keygen_with(&key("rsa_pem"), &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
    keygen_with(&key("rsa_pkcs8"), &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""]);
    keygen_with(&key("ecdsa256"), &["-t", "ecdsa", "-b", "256", "-N", ""]);
    keygen_with(&key("ecdsa384"), &["-t", "ecdsa", "-b", "384", "-N", ""]);
    keygen_with(&key("ecdsa521"), &["-t", "ecdsa", "-b", "521", "-N", ""]);
    keygen_with(&key("ecdsa_pkcs8"), &["-t", "ecdsa", "-m", "PKCS8", "-N", ""]);
    keygen_with(&key("ed25519"), &["-t", "ed25519", "-N", ""]);
    keygen_with(&key("crlf"), &["-t", "ed25519", "-N", ""]);
    let text = fs::read_to_string(key("crlf")).unwrap().replace('\n', "\r\n");
    fs::write(key("crlf"), text).unwrap();
    for name in [
        "rsa",
        "rsa_pem",
        "rsa_pkcs8",
        "ecdsa256",
        "ecdsa384",
        "ecdsa521",
        "ecdsa_pkcs8",
        "ed25519",
        "crlf",
    ] {
        fs::copy(key(&format!("{name}.pub")), server.authorized_keys()).unwrap();
        let mut options = options(&keyless(&server));
        options.identities = vec![key(name)];
        assert_eq!(echo(&options, "here").await.unwrap(), b"here\n", "{name}");
    }
}

/// Rows: B-P1, B-P2, B-P3.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_can_not_be_used_is_a_configuration_error() {
    let server = Sshd::start("");
    let directory = server.directory();
    let file = |name: &str, text: &[u8], mode: u32| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let good = fs::read(server.user_key()).unwrap();
    let fifo = directory.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let endless = directory.join("endless");
    symlink("/dev/zero", &endless).unwrap();
    let foreign = file("foreign", &good, 0o640);
    std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
    let mut corrupt = String::from_utf8(good.clone()).unwrap();
    let middle = corrupt.len() / 2;
    let replacement = if &corrupt[middle..=middle] == "A" { "B" } else { "A" };
    corrupt.replace_range(middle..=middle, replacement);
    let short = directory.join("short");
    keygen_with(&short, &["-t", "rsa", "-b", "1024", "-N", ""]);
    for path in [
        directory.join("missing"),
        directory.to_owned(),
        fifo,
        endless,
        foreign,
        file("open", &good, 0o644),
        file("wide", &good, 0o666),
        file("empty", b"", 0o600),
        file("blank", b"\n\n", 0o600),
        file("public", &fs::read(directory.join("userkey.pub")).unwrap(), 0o600),
        file("putty", b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", 0o600),
        file("truncated", &good[..good.len() / 2], 0o600),
        file("binary", &[0xff, 0xfe, 0, 1], 0o600),
        file("text", b"hello\n", 0o600),
        file("corrupt", corrupt.as_bytes(), 0o600),
        file("bad-checkints", &with_bad_checkints(&good), 0o600),
        file(
            "dsa",
            b"-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n",
            0o600,
        ),
    ] {
        let mut options = options(&keyless(&server));
        options.identities = vec![path.clone()];
        let error = connect(&options, "here").await.unwrap_err();
        assert_eq!(error.class(), SshErrorClass::Configuration, "{}: {error}", path.display());
        assert!(matches!(error, SshError::Key { .. }), "{error}");
    }
    let mut options = options(&keyless(&server));
    options.identities = vec![short];
    options.options.push("RequiredRSASize=2048".to_owned());
    let error = connect(&options, "here").await.unwrap_err();
    assert!(
        matches!(error, SshError::Key { problem: KeyProblem::TooShort { bits: 1024, .. }, .. }),
        "{error}"
    );
}

/// The two equal numbers that tell a right passphrase from a wrong one, made to differ: in a key of
/// this kind the first of them ends with the last of these digits.
fn with_bad_checkints(key: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(key.to_vec()).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let mut digits: Vec<char> = rest.chars().collect();
    let at = digits.iter().enumerate().filter(|(_, c)| **c != '\n').nth(131).unwrap().0;
    digits[at] = if digits[at] == 'A' { 'B' } else { 'A' };
    format!("{first}\n{}", digits.into_iter().collect::<String>()).into_bytes()
}

/// Line ends of another system change nothing: ssh reads such a key too
///
/// Rows: B-P2.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_line_ends_logs_in() {
    let server = Sshd::start("");
    let text = fs::read_to_string(server.user_key()).unwrap().replace('\n', "\r\n");
    let path = server.directory().join("crlf");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut options = options(&keyless(&server));
    options.identities = vec![path];
    assert_eq!(echo(&options, "here").await.unwrap(), b"here\n");
}

#[derive(Debug)]
struct Typist(Vec<&'static str>);

impl Prompt for Typist {
    fn accept_host_key(&self, _: &HostKeyQuestion) -> HostKeyAnswer {
        HostKeyAnswer::NobodyToAsk
    }

    fn passphrase(&self, question: &PassphraseQuestion<'_>) -> Option<Passphrase> {
        let typed = self.0.get(usize::try_from(question.failures).unwrap())?;
        Some(Passphrase::new((*typed).to_owned()))
    }
}

/// Rows: B-P2.
#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_asked_for_when_the_host_takes_the_key() {
    let server = Sshd::start("");
    let locked = server.directory().join("locked");
    keygen_with(&locked, &["-t", "ed25519", "-N", "sesame"]);
    let pem = server.directory().join("locked_pem");
    keygen_with(&pem, &["-t", "rsa", "-m", "PKCS8", "-N", "sesame"]);
    for key in [&locked, &pem] {
        fs::copy(key.with_extension("pub"), server.authorized_keys()).unwrap();
        let mut options = options(&keyless(&server));
        options.identities = vec![key.clone()];
        let error = connect(&options, "here").await.unwrap_err();
        assert!(matches!(error, SshError::Key { problem: KeyProblem::NobodyToAsk, .. }), "{error}");
        options.interactive = Arc::new(Typist(vec!["wrong", "wrong", "wrong", "wrong"]));
        let error = connect(&options, "here").await.unwrap_err();
        assert!(
            matches!(error, SshError::Key { problem: KeyProblem::WrongPassphrase, .. }),
            "{error}"
        );
        options.interactive = Arc::new(Typist(vec!["wrong", "sesame"]));
        assert_eq!(echo(&options, "here").await.unwrap(), b"here\n");
    }
    // A key that the host does not take is not worth a question.
    fs::write(server.authorized_keys(), "").unwrap();
    let mut options = options(&keyless(&server));
    options.identities = vec![locked];
    options.interactive = Arc::new(Typist(vec![]));
    let refused = refusal(connect(&options, "here").await.unwrap_err());
    assert_eq!(refused.offered.len(), 1);
}

/// A private ssh-agent
pub(crate) struct AgentProcess {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl AgentProcess {
    pub(crate) fn start(directory: &Path) -> Self {
        let socket = directory.join("agent");
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh-agent is missing: apt-get install openssh-client");
        // It prints its address once it listens.
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        Self { child, socket }
    }

    pub(crate) fn add(&self, key: &Path) {
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(added.success());
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn with_agent(server: &Sshd, socket: &Path, extra: &str) -> PathBuf {
    let path = server.directory().join("ssh_config.agent");
    let text = fs::read_to_string(keyless(server)).unwrap();
    fs::write(&path, format!("IdentityAgent {}\n{extra}\n{text}", socket.display())).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_agent_log_in_without_a_file() {
    let server = Sshd::start("");
    let agent = AgentProcess::start(server.directory());
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = server.directory().join(format!("agent_{kind}"));
        keygen(&key, kind);
        agent.add(&key);
        fs::copy(key.with_extension("pub"), server.authorized_keys()).unwrap();
        fs::remove_file(&key).unwrap();
        let options = options(&with_agent(&server, &agent.socket, ""));
        assert_eq!(echo(&options, "here").await.unwrap(), b"here\n", "{kind}");
        // A public key file names the agent's key that is meant.
        let named = format!("IdentitiesOnly yes\nIdentityFile {}.pub", key.display());
        let options = crate::options(&with_agent(&server, &agent.socket, &named));
        assert_eq!(echo(&options, "here").await.unwrap(), b"here\n", "{kind}");
    }
    let options = options(&with_agent(&server, &agent.socket, "IdentitiesOnly yes"));
    let refused = refusal(connect(&options, "here").await.unwrap_err());
    assert!(refused.offered.is_empty(), "{refused}");
}

/// An agent with twenty keys meets a host that stops after six
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_listening_leaves_keys_untried() {
    let server = Sshd::start("");
    let agent = AgentProcess::start(server.directory());
    for index in 0..20 {
        let key = server.directory().join(format!("many{index}"));
        keygen(&key, "ed25519");
        agent.add(&key);
    }
    let plain = options(&with_agent(&server, &agent.socket, ""));
    let refused = refusal(connect(&plain, "here").await.unwrap_err());
    assert_eq!((refused.offered.len(), refused.untried.len()), (6, 14), "{refused}");
    assert_eq!(refused.attempts_allowed, Some(6));
    assert!(
        refused.offered.iter().all(|key| key.origin == KeyOrigin::Agent("test key".to_owned()))
    );
    let text = refused.to_string();
    assert!(text.contains("(14 more not tried: the server stops after 6; use -i)"), "{text}");

    // The right key is reached when it is named, whatever the agent holds.
    let named = format!("IdentityFile {}\nIdentitiesOnly yes", server.user_key().display());
    let options = options(&with_agent(&server, &agent.socket, &named));
    assert_eq!(echo(&options, "here").await.unwrap(), b"here\n");
}

/// Agents that hang, claim 4 GiB, or talk nonsense do not hold up a login with a file
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_agent_is_passed_over() {
    use std::io::Write;
    let server = Sshd::start("");
    let replies: [&[u8]; 5] = [
        b"",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\x05",
        b"\x00\x00\x00\x05\x0c\xff\xff\xff\xff",
        b"\x00\x00\x00\x09\x0c\x00\x00\x00\x01\xff\xff\xff\xff",
    ];
    for (index, reply) in replies.into_iter().enumerate() {
        let socket = server.directory().join(format!("fake{index}"));
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            // Held open, so that only a limit of time or size ends the wait.
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                drop(stream.write_all(reply));
                held.push(stream);
            }
        });
        let named = format!("IdentityFile {}", server.user_key().display());
        let options = options(&with_agent(&server, &socket, &named));
        let begun = Instant::now();
        assert_eq!(echo(&options, "here").await.unwrap(), b"here\n", "reply {index}");
        assert!(begun.elapsed() < Duration::from_secs(25));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_configuration_that_can_not_be_used_are_named() {
    let server = Sshd::start("");
    let open = server.directory().join("open");
    fs::copy(server.user_key(), &open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let path = server.directory().join("ssh_config.open");
    let text = fs::read_to_string(keyless(&server)).unwrap();
    fs::write(&path, format!("IdentityFile {}\n{text}", open.display())).unwrap();
    let refused = refusal(connect(&options(&path), "here").await.unwrap_err());
    assert_eq!(refused.unusable.len(), 1);
    assert!(refused.to_string().contains("its mode 0644 lets others read it"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_in_the_authorized_file_are_the_only_way_in() {
    let server = Sshd::start("");
    fs::write(server.authorized_keys(), "").unwrap();
    let config = server.client_config("here");
    let refused = refusal(connect(&options(&config), "here").await.unwrap_err());
    assert_eq!(refused.offered.len(), 1);
    let line = public_key(&server.directory().join("userkey.pub"));
    fs::write(server.authorized_keys(), format!("{line}\n")).unwrap();
    assert_eq!(echo(&options(&config), "here").await.unwrap(), b"here\n");
}
