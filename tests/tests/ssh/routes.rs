//! Jump hosts, proxy commands, and what a configuration may say about the way

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use xfer_core::transport::ssh::{
    ConfigurationProblem, HostKeyProblem, ReachProblem, SshError, SshErrorClass,
};
use xfer_tests::sshd::{Sshd, keygen, public_key};

use crate::{connect, echo, options};

/// One configuration for several servers, called a, b, c…, with lines of its own before them
fn config(servers: &[&Sshd], extra: &str) -> PathBuf {
    let mut text = format!("{extra}\n");
    for (server, name) in servers.iter().zip(["a", "b", "c", "d"]) {
        text.push_str(&server.client_config_text(name));
    }
    let path = servers[0].directory().join("ssh_config.routes");
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_jump_hosts_is_walked_hop_by_hop() {
    let servers = [Sshd::start(""), Sshd::start(""), Sshd::start("")];
    let [a, b, c] = &servers;
    let config = config(&[a, b, c], "Host c\n  ProxyJump a,b\n");
    assert_eq!(echo(&options(&config), "c").await.unwrap(), b"here\n");
    for (server, name) in servers.iter().zip(["a", "b", "c"]) {
        assert_eq!(server.log_count("Accepted publickey"), 1, "{name}");
    }
    let mut direct = options(&config);
    direct.jump = Some("none".to_owned());
    assert_eq!(echo(&direct, "c").await.unwrap(), b"here\n");
    assert_eq!(a.log_count("Accepted publickey"), 1);
    let mut typed = options(&config);
    typed.jump = Some(format!("root@b:{}", b.port()));
    assert_eq!(echo(&typed, "c").await.unwrap(), b"here\n");
    assert_eq!((a.log_count("Accepted publickey"), b.log_count("Accepted publickey")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_hosts_own_configuration_counts() {
    let (a, b, c) = (Sshd::start(""), Sshd::start(""), Sshd::start(""));
    let extra = "Host c\n  ProxyJump b\nHost b\n  ProxyJump a\n";
    let config = config(&[&a, &b, &c], extra);
    assert_eq!(echo(&options(&config), "c").await.unwrap(), b"here\n");
    assert_eq!(a.log_count("Accepted publickey"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_must_prove_itself_too() {
    let (a, b) = (Sshd::start(""), Sshd::start(""));
    let other = a.directory().join("other");
    keygen(&other, "ed25519");
    let stale = a.directory().join("stale");
    let key = public_key(&other.with_extension("pub"));
    fs::write(&stale, format!("[127.0.0.1]:{} {key}\n", a.port())).unwrap();
    let extra =
        format!("Host b\n  ProxyJump a\nHost a\n  UserKnownHostsFile {}\n", stale.display());
    let error = connect(&options(&config(&[&a, &b], &extra)), "b").await.unwrap_err();
    assert!(
        matches!(&error, SshError::HostKey { problem, host }
            if matches!(**problem, HostKeyProblem::Changed { .. })
                && host.contains(&a.port().to_string())),
        "{error}"
    );
    assert_eq!(b.log_count("Connection from"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_that_does_not_forward_is_named() {
    let (a, b) = (Sshd::start("AllowTcpForwarding no"), Sshd::start(""));
    let config = config(&[&a, &b], "Host b\n  ProxyJump a\n");
    let error = connect(&options(&config), "b").await.unwrap_err();
    assert_eq!(error.class(), SshErrorClass::Network);
    assert!(
        matches!(&error, SshError::Unreachable { problem: ReachProblem::Forward { jump, .. }, .. }
            if jump.contains(&a.port().to_string())),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jump_hosts_in_a_circle_are_refused() {
    let (a, b) = (Sshd::start(""), Sshd::start(""));
    let config = config(&[&a, &b], "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n");
    let error = connect(&options(&config), "a").await.unwrap_err();
    assert!(
        matches!(error, SshError::Configuration { problem: ConfigurationProblem::JumpLoop(_), .. }),
        "{error}"
    );
    let mut many = options(&config);
    many.jump = Some(vec!["h"; 20].join(","));
    assert_eq!(connect(&many, "a").await.unwrap_err().class(), SshErrorClass::Configuration);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_that_dies_ends_the_connection() {
    let (a, b) = (Sshd::start(""), Sshd::start(""));
    let config = config(&[&a, &b], "Host b\n  ProxyJump a\n");
    let connection = connect(&options(&config), "b").await.unwrap();
    let mut exec = connection.exec("cat").await.unwrap();
    a.kill_sessions();
    drop(std::mem::replace(&mut exec.stream.reader, Box::new(tokio::io::empty())));
    assert_eq!(exec.wait().await, None);
    let error = connection.exec("true").await.unwrap_err();
    assert_eq!(error.class(), SshErrorClass::Network, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_carries_the_connection() {
    let (a, b) = (Sshd::start(""), Sshd::start(""));
    let marker = a.directory().join("marker");
    let extra = format!(
        "Host a\n  ProxyCommand sh -c 'echo \"$0 $1 $2 %%\" > {}; exec ssh -F {} -W \"$0:$1\" b' \
         %h %p %r\n",
        marker.display(),
        b.client_config("b").display(),
    );
    let config = config(&[&a], &extra);
    assert_eq!(echo(&options(&config), "a").await.unwrap(), b"here\n");
    assert_eq!(b.log_count("Accepted publickey"), 1);
    let text = fs::read_to_string(&marker).unwrap();
    assert_eq!(text, format!("127.0.0.1 {} root %\n", a.port()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_that_fails_or_hangs_is_named() {
    let server = Sshd::start("");
    let failing = config(&[&server], "Host a\n  ProxyCommand exit 3\n");
    let error = connect(&options(&failing), "a").await.unwrap_err();
    assert!(
        matches!(
            &error,
            SshError::Unreachable { problem: ReachProblem::ProxyCommand(text), .. }
                if text.contains("exit 3")
        ),
        "{error}"
    );
    let pid = server.directory().join("pid");
    let extra = format!(
        "Host a\n  ConnectTimeout 1\n  ProxyCommand sh -c 'echo $$ > {}; exec sleep 1000'\n",
        pid.display()
    );
    let hanging = config(&[&server], &extra);
    let error = connect(&options(&hanging), "a").await.unwrap_err();
    assert!(
        matches!(&error, SshError::Unreachable { problem: ReachProblem::TimedOut(_), .. }),
        "{error}"
    );
    let process = fs::read_to_string(&pid).unwrap();
    let path = format!("/proc/{}/stat", process.trim());
    let alive = || fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z "));
    let death = async {
        while alive() {
            tokio::task::yield_now().await;
        }
    };
    let killed = tokio::time::timeout(Duration::from_secs(10), death).await;
    assert!(killed.is_ok(), "the command outlives the attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_configurations_are_configuration_errors() {
    let server = Sshd::start("");
    for extra in [
        "Port abc",
        "Port 0",
        "Port 65536",
        "HostName",
        "Host a\n  HostName a;b",
        "Host a\n  User x y",
        "ProxyJump a;b",
        "IdentityFile %z",
        "IdentityFile ${XFER_TEST_NO_SUCH_VARIABLE}/key",
        "HostKeyAlgorithms ssh-dss",
        "Ciphers none",
        "KexAlgorithms diffie-hellman-group1-sha1",
        "Ciphers 3des-cbc",
        "KnownHostsCommand /bin/true",
        "CertificateFile /none",
        "ProxyUseFdpass yes",
        "PubkeyAuthentication no",
        "StrictHostKeyChecking perhaps",
        "Nonsense yes",
        "Host \"a",
    ] {
        let error = connect(&options(&config(&[&server], extra)), "a").await.unwrap_err();
        assert_eq!(error.class(), SshErrorClass::Configuration, "{extra}: {error}");
    }
    let missing = server.directory().join("missing");
    let error = connect(&options(&missing), "a").await.unwrap_err();
    assert_eq!(error.class(), SshErrorClass::Configuration, "{error}");
    assert_eq!(server.log_count("Connection from"), 0);
}
