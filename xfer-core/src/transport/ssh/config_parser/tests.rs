//! Every table entry is resolved by our parser and by `ssh -G`, and the two must agree
//!
//! Where ssh refuses, we refuse; where we alone refuse, the entry says so.

#![expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]

use std::sync::Arc;

use super::*;
use crate::transport::ssh::host_config::{AlgorithmConfig, HostConfig, resolve as resolve_host};
use crate::transport::ssh::prompt::NoPrompt;

const HOSTS: [&str; 6] = ["a", "b.example", "web1", "web-old", "A", "10.0.0.7"];

/// What both understand
const AGREED: [&str; 67] = [
    "",
    "# only a comment\n\n   \t\n",
    "HostName real.example",
    "Host a\nHostName %h.example\nHost *\nHostName x",
    "Host a\nHostName %%x%h",
    "HostName %z",
    "HostName REAL.Example",
    "hostname real\nHOSTNAME other",
    "Host a b.example\nUser u\nHost *\nUser v",
    "Host *\nUser v\nHost a\nUser u",
    "Host web?\nPort 1\nHost web*\nPort 2\nHost !web-old *\nPort 3",
    "Host web* !web-old\nUser w",
    "Host !a\nUser never",
    "Host !a *\nUser all-but-a",
    "Host A\nUser upper\nHost a\nUser lower",
    "Host 10.0.0.*\nUser net",
    "Host \"a\" 'b.example'\nUser q",
    "Host a # b.example\nUser c",
    "Port=2200",
    "Port = 2200",
    "Port\t=\t2200",
    "Port \"2200\"",
    "\"Port\" 2200",
    "Port 2200 # why",
    "Port 2200 2201",
    "Port 0",
    "Port 65536",
    "Port -1",
    "Port abc",
    "Port",
    "Port ''",
    "Port 22\r\nUser u\r\n",
    "User \"u",
    "User 'u v'",
    "User u\\\\v",
    "User",
    "IdentityFile ~/.ssh/one\nIdentityFile %d/two\nIdentityFile /three four",
    "IdentityFile \"/with space/key\"\nIdentityFile /x_%h_%p_%r_%n_%u_%i_%%",
    "IdentityFile /a\nIdentityFile /a\nHost a\nIdentityFile /b",
    "IdentityFile none",
    "IdentityFile %z",
    "IdentityFile /%C",
    "IdentityFile /%l/%L/%k/%j",
    "IdentitiesOnly yes",
    "IdentitiesOnly perhaps",
    "IdentityAgent none\nIdentityAgent /x",
    "IdentityAgent ~/agent.%h\nIdentitiesOnly true",
    "IdentityAgent SSH_AUTH_SOCK",
    "ProxyJump j\nProxyCommand nc %h %p",
    "ProxyCommand nc %h %p\nProxyJump j",
    "ProxyJump none\nProxyJump j\nProxyCommand x",
    "ProxyCommand none\nProxyJump j",
    "ProxyJump u@j1:2222,j2,[::1]:22,ssh://v@j3:44",
    "ProxyJump j1,,j2",
    "ProxyCommand  sh -c \"exec nc '%h' # %%\" ; x = y",
    "ProxyCommand nc %z",
    "UserKnownHostsFile /a ~/b \"/c d\"\nUserKnownHostsFile /never",
    "UserKnownHostsFile none\nGlobalKnownHostsFile /dev/null",
    "StrictHostKeyChecking accept-new\nHostKeyAlias lab\nHashKnownHosts yes",
    "StrictHostKeyChecking off",
    "StrictHostKeyChecking YES",
    "ConnectTimeout 7\nAddressFamily inet6\nBindAddress ::1",
    "ServerAliveInterval 2\nServerAliveCountMax 1",
    "ConnectTimeout none\nRequiredRSASize 3072",
    "Match all\nUser m\nHost b.example\nUser n",
    "IgnoreUnknown x*,Y\nXtra 1\ny 2\nUser u",
    "Nonsense 1",
];

/// What ssh understands and we refuse, for the host `a`
const REFUSED: [&str; 14] = [
    "Include /dev/null",
    "Match host a\nUser m",
    "Match exec true\nUser m",
    "Match canonical",
    "Match host !x",
    "KnownHostsCommand /bin/true",
    "CertificateFile /none",
    "ProxyUseFdpass yes",
    "CanonicalizeHostname yes",
    "RevokedHostKeys /none",
    "BindInterface lo",
    "NoHostAuthenticationForLocalhost yes",
    "PKCS11Provider /none",
    "Port ssh",
];

fn options(config: &Path, program: &str) -> SshOptions {
    let mut options = SshOptions::new(Arc::new(NoPrompt), 1);
    options.config_file = Some(config.to_owned());
    options.ssh_program = program.into();
    options
}

/// Both answers, without the lists of algorithms, which only one of them spells out
async fn both(
    options: &SshOptions,
    host: &str,
) -> (Result<HostConfig, String>, Result<HostConfig, String>) {
    let target: SshTarget = host.parse().unwrap();
    let mut answers = Vec::new();
    for program in ["ssh", "/no/such/ssh"] {
        let options = SshOptions { ssh_program: program.into(), ..options.clone() };
        let answer = resolve_host(&target, &options).await;
        answers.push(answer.map_err(|error| error.to_string()).map(|mut config| {
            let rsa_bits_min = config.algorithms.rsa_bits_min;
            config.algorithms = AlgorithmConfig { rsa_bits_min, ..Default::default() };
            // OpenSSH keeps a key type for this name that nothing else does.
            config
                .identity
                .files
                .retain(|file| !["id_xmss", "id_dsa"].iter().any(|name| file.path.ends_with(name)));
            config
        }));
    }
    let ours = answers.pop().unwrap();
    (answers.pop().unwrap(), ours)
}

/// Rows: B-K3, B-K4, B-K5, B-K6, B-K7.
#[tokio::test]
async fn our_parser_agrees_with_ssh() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let mut differences = Vec::new();
    for text in AGREED {
        std::fs::write(&path, text).unwrap();
        for host in HOSTS {
            let (theirs, ours) = both(&options(&path, "ssh"), host).await;
            let both_refuse = theirs.is_err() && ours.is_err();
            if !both_refuse && ours != theirs {
                differences.push(format!("{host} of {text:?}:\nours {ours:?}\nssh  {theirs:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn options_win_as_they_do_in_ssh() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, "Port 1\nUser c\nProxyJump j\nIdentityFile /c\n").unwrap();
    let mut options = options(&path, "ssh");
    options.identities = vec!["/typed/key".into()];
    options.port = Some(2200);
    options.jump = Some("x@y:7".to_owned());
    options.options =
        ["Port=9", "User o", "IdentityFile=/o", "StrictHostKeyChecking=no", "HostName=h.example"]
            .map(str::to_owned)
            .to_vec();
    for host in ["a", "u@a", "a:77"] {
        let (theirs, ours) = both(&options, host).await;
        assert_eq!(ours.unwrap(), theirs.unwrap(), "{host}");
    }
    options.options = vec!["ProxyCommand=nc %h %p".to_owned()];
    options.jump = None;
    let (theirs, ours) = both(&options, "a").await;
    assert_eq!(ours.unwrap(), theirs.unwrap());
}

/// Rows: B-K2, B-K3.
#[tokio::test]
async fn what_is_not_implemented_is_refused_and_never_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    for text in REFUSED {
        std::fs::write(&path, text).unwrap();
        let options = options(&path, "/no/such/ssh");
        let target: SshTarget = "a".parse().unwrap();
        let refused = resolve_host(&target, &options).await;
        assert!(refused.is_err(), "{text}");
    }
}

/// Rows: B-K6.
#[tokio::test]
async fn strange_files_are_refused_or_read_as_ssh_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let long = format!("User {}\n", "u".repeat(900 << 10));
    let texts: [&[u8]; 5] = [
        b"Port 22\0\n",
        b"\xff\xfeP\x00o\x00r\x00t\x00 \x002\x002\x00\n\x00",
        b"User \xff\xfe\n",
        b"Port 22\x0c\nUser u\x0c\n",
        long.as_bytes(),
    ];
    for text in texts {
        std::fs::write(&path, text).unwrap();
        let (theirs, ours) = both(&options(&path, "ssh"), "a").await;
        assert!(ours.is_err() || ours == theirs, "{:?}", String::from_utf8_lossy(text));
    }
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    let target: SshTarget = "a".parse().unwrap();
    assert!(resolve_host(&target, &options(&path, "/no/such/ssh")).await.is_err());
}

/// Rows: B-K9.
#[test]
fn a_file_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().to_owned();
    std::fs::create_dir(home.join(".ssh")).unwrap();
    let path = home.join(".ssh/config");
    std::fs::write(&path, "User u\n").unwrap();
    let user_id = rustix::process::getuid().as_raw();
    for (mode, accepted) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(check_owner(&path, user_id).is_ok(), accepted, "{mode:o}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
    assert!(check_owner(&path, user_id).is_err());
    assert!(check_owner(&path, 4321).is_ok());
}
